private import CLMoEKernels

/// The kernels for this processor: `avx512vnni`, `avx512`, `avx2` or `portable`.
public func kernelVariant() -> String { unsafe String(cString: lmoe_kernel_variant()) }
