internal import CLMoEKernels
import LMoECore

/// The way back through attention, of one text and one head of keys: with all heads of queries that read it.
struct AttentionGradient: Sendable {
  /// As attention took them [T, group · d].
  let queries: Rows
  /// Of what attention gave [T, group · d].
  let gradients: Rows
  /// [T, d].
  let keys: Rows
  let values: Rows
  /// What attention said of its scores [2 · group, T], two rows a head; the products of gradients and results
  /// [group, T].
  let sums: Rows
  let deltas: Rows
  /// What comes out [T, group · d], and [T, d] twice.
  let queryGradients: Rows
  let keyGradients: Rows
  let valueGradients: Rows
  /// How far a token looks back, itself included; nil for all of it.
  let window: Int?

  /// Floats of scratch that a worker needs for texts of `count` tokens and heads of width `d`.
  static func scratch(_ count: Int, _ d: Int) -> Int { lmoe_attention_gradient_scratch(count, d) }

  /// Computes it in the calling worker.
  func run(_ scratch: Rows) {
    unsafe withUnsafePointer(
      to: lmoe_attention_gradient(
        rows: keys.count, width: keys.width, group: deltas.count, window: window ?? 0,
        queries: queries.base, gradients: gradients.base, query_stride: queries.stride,
        gradient_stride: gradients.stride, keys: keys.base, values: values.base, key_stride: keys.stride,
        largest: sums.base, shares: sums.row(1), deltas: deltas.base, sums_stride: 2 * sums.stride,
        deltas_stride: deltas.stride,
        query_gradients: queryGradients.base, key_gradients: keyGradients.base,
        value_gradients: valueGradients.base, query_gradient_stride: queryGradients.stride,
        key_gradient_stride: keyGradients.stride)
    ) { unsafe lmoe_attend_backward($0, scratch.base) }
  }
}
