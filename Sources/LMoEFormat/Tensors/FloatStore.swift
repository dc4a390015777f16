private import CLMoEKernels

/// Writes float32 values as raw bytes of a float dtype, rounded to the nearest, ties to even.
public struct FloatStore: Sendable {
  private let dtype: DType
  /// Bytes of a value.
  public let width: Int

  /// Writes values of `dtype`; nil if it is not F32, F16 or BF16.
  public init?(_ dtype: DType) {
    guard [.f32, .f16, .bf16].contains(dtype), let width = dtype.elementBytes else { return nil }
    (self.dtype, self.width) = (dtype, width)
  }

  /// Fills `bytes` with `floats`.
  @unsafe public func store(
    _ floats: UnsafeBufferPointer<Float>, to bytes: UnsafeMutableRawBufferPointer
  ) {
    let count = min(floats.count, bytes.count / width)
    guard let from = floats.baseAddress, let to = bytes.baseAddress else { return }
    switch dtype {
    case .f16: unsafe lmoe_to_f16(from, count, to.assumingMemoryBound(to: UInt16.self))
    case .bf16:
      let out = unsafe to.assumingMemoryBound(to: UInt16.self)
      for index in 0..<count {
        let bits = unsafe from[index].bitPattern
        // What is not a number stays none, whatever its low bits are.
        let isNaN = bits & 0x7FFF_FFFF > 0x7F80_0000
        let rounded = isNaN ? bits | 0x40_0000 : bits &+ 0x7FFF &+ (bits >> 16 & 1)
        unsafe out[index] = UInt16(truncatingIfNeeded: rounded >> 16)
      }
    default: unsafe to.copyMemory(from: from, byteCount: 4 * count)
    }
  }
}
