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

  /// The gradient: with r = 1/√(mean(x²) + ε) and h = w ⊙ dy, dx = r·(h − r²·x·mean(h ⊙ x)).
  ///
  /// - Parameters:
  ///   - x: What was normalised [T, d].
  ///   - dy: The gradient of what came out [T, d].
  ///   - dx: Where the gradient goes [T, d].
  ///   - accumulates: Whether it is added to what is there.
  func backward(_ x: Rows, _ dy: Rows, into dx: Rows, accumulates: Bool) {
    unsafe lmoe_rms_norm_backward(
      x.base, x.stride, x.count, weight.count, weight.base, weight.kind.code, epsilon, dy.base, dy.stride,
      dx.base, dx.stride, accumulates ? 1 : 0)
  }

  /// The gradient of `forwardHeads` in the place of that of its output; `x` is what was normalised.
  func backwardHeads(_ x: Rows, _ gradient: Rows) {
    for row in 0..<x.count {
      let heads = unsafe Rows(base: x.row(row), count: x.width / weight.count, width: weight.count)
      let d = unsafe Rows(base: gradient.row(row), count: heads.count, width: heads.width)
      backward(heads, d, into: d, accumulates: false)
    }
  }

  /// Normalises each head of width `weight.count` in rows [T, heads · width], in place.
  func forwardHeads(_ x: Rows) {
    for row in 0..<x.count {
      let heads = unsafe Rows(base: x.row(row), count: x.width / weight.count, width: weight.count)
      forward(heads, into: heads)
    }
  }
}
