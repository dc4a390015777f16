private import CLMoEKernels

/// A row of numbers that a model computed, for a look inside a call.
public struct Logits: Sendable {
  private let rows: Rows

  init(_ rows: Rows) { self.rows = rows }

  /// The number of values.
  public var count: Int { rows.width }

  /// One value.
  public subscript(index: Int) -> Float { rows[0, index] }

  /// All values.
  public var array: [Float] { rows.array(0) }

  /// The index of the largest value; of equal ones, the first.
  public var argmax: Int {
    // The largest of each block first: that needs no indices.
    var (largest, block) = (-Float.infinity, 0..<count)
    for start in stride(from: 0, to: count, by: Self.blockCount) {
      let values = start..<min(start + Self.blockCount, count)
      let candidate = maximum(of: values)
      if candidate > largest { (largest, block) = (candidate, values) }
    }
    return block.first { rows[0, $0] == largest } ?? 0
  }

  private static let blockCount = 1024

  private func maximum(of range: Range<Int>) -> Float {
    typealias Vector = SIMD16<Float>
    var lanes = Vector(repeating: -.infinity)
    var index = range.lowerBound
    while index + Vector.scalarCount <= range.upperBound {
      let values = unsafe UnsafeRawPointer(rows.base + index).loadUnaligned(as: Vector.self)
      lanes.replace(with: values, where: values .> lanes)
      index += Vector.scalarCount
    }
    return (index..<range.upperBound).reduce(lanes.max()) { max($0, rows[0, $1]) }
  }

  /// log Σ exp(value).
  public var logSumExp: Double { unsafe lmoe_log_sum_exp(rows.base, rows.width) }

  /// −log softmax(values)[index]: what a text pays for that token.
  public func negativeLogLikelihood(of index: Int) -> Double { logSumExp - Double(rows[0, index]) }
}
