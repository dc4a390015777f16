internal import CLMoEKernels
import LMoECore

/// Queries of one head that go through attention together, and what they see.
struct AttentionBlock: Sendable {
  /// Already divided by √d [at most `most`, d].
  let queries: Rows
  /// softmax(q·kᵀ)·v [as many, d].
  let output: Rows
  /// The keys and values from position 0 on: positions × d.
  let keys: Weight.View
  let values: Weight.View
  /// The position of the first query.
  let position: Int
  /// How far a token looks back, itself included; nil for all of it.
  let window: Int?
  /// Where the largest of each row's scores goes, and one over the sum of exponentials less that [2, rows]; nil if
  /// nobody wants it.
  var sums: Rows?

  /// Rows of queries that are taken together.
  static let most = Int(LMOE_ATTENTION_QUERIES)

  /// Floats of scratch that a worker needs for heads of width `d`.
  static func scratch(_ d: Int) -> Int { lmoe_attention_scratch(d) }

  /// The blocks of `rows`, the last first: where rows see what is before them, that is the one that takes longest.
  static func blocks(of rows: Range<Int>) -> [Range<Int>] {
    stride(from: rows.lowerBound, to: rows.upperBound, by: most).reversed()
      .map { $0..<min($0 + most, rows.upperBound) }
  }

  /// Computes the block in the calling worker.
  func run(_ scratch: Rows) {
    unsafe withUnsafePointer(
      to: lmoe_attention(
        queries: queries.base, query_stride: queries.stride, out: output.base, out_stride: output.stride,
        largest: sums?.base, shares: sums?.row(1), rows: queries.count, width: queries.width, keys: keys.base,
        values: values.base, key_stride: keys.stride, value_stride: values.stride, kind: keys.kind.code,
        position: position, window: window ?? 0)
    ) { unsafe lmoe_attend($0, scratch.base) }
  }
}
