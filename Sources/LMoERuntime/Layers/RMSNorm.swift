private import CLMoEKernels

/// Root-mean-square normalisation: y = w ⊙ x / √(mean(x²) + ε).
struct RMSNorm: Sendable {
  /// w.
  let weight: Weight
  /// ε.
  let epsilon: Double

  /// Normalises rows [T, d] into `output` [T, d], which may be the same.
  func forward(_ x: Rows, into output: Rows) {
    unsafe lmoe_rms_norm(
      x.base, x.stride, x.count, weight.count, weight.base, weight.kind.code, epsilon, output.base,
      output.stride)
  }

  /// Normalises each head of width `weight.count` in rows [T, heads · width], in place.
  func forwardHeads(_ x: Rows) {
    for row in 0..<x.count {
      let heads = unsafe Rows(base: x.row(row), count: x.width / weight.count, width: weight.count)
      forward(heads, into: heads)
    }
  }
}
