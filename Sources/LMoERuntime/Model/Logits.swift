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
    var best = 0
    for index in 1..<max(1, count) where rows[0, index] > rows[0, best] { best = index }
    return best
  }

  /// log Σ exp(value).
  public var logSumExp: Double { unsafe lmoe_log_sum_exp(rows.base, rows.width) }

  /// −log softmax(values)[index]: what a text pays for that token.
  public func negativeLogLikelihood(of index: Int) -> Double { logSumExp - Double(rows[0, index]) }
}
