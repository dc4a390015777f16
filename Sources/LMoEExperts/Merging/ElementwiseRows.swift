private import CLMoEKernels
import LMoECore

/// Deltas merged entry by entry: sparsified, elected, summed.
final class ElementwiseRows: MatrixRows {
  private let sources: [any MatrixRows]
  /// Empty where the sources are sparsified already.
  private let rules: [Sparsification]
  private let rule: CombinationRule
  private let tile: FloatBuffer
  let rows: Int
  let columns: Int

  private init(_ sources: [any MatrixRows], _ rules: [Sparsification], _ rule: CombinationRule) {
    (self.sources, self.rules, self.rule) = (sources, rules, rule)
    rows = sources.first?.rows ?? 0
    columns = sources.first?.columns ?? 0
    tile = FloatBuffer(DeltaRows.height(columns: columns, rows: rows) * columns)
  }

  /// Deltas below this many bytes together are kept in memory.
  static let residentBytes = 32 << 20

  /// Merges matrices.
  ///
  /// - Parameters:
  ///   - weights: What each counts.
  ///   - keys: What random choices of each follow from.
  static func merging(
    _ sources: [any MatrixRows], weights: [Double], keys: [UInt64], by method: MergeMethod,
    residentBytes: Int = ElementwiseRows.residentBytes
  ) -> any MatrixRows {
    let rule = CombinationRule(method, weights: weights)
    func rules(_ sources: [any MatrixRows]) -> [Sparsification] {
      zip(sources, keys).map { Sparsification(method, of: $0, key: $1) }
    }
    let bytes = sources.reduce(0) { $0 + $1.rows * $1.columns * 4 }
    guard bytes <= residentBytes else { return ElementwiseRows(sources, rules(sources), rule) }
    let resident = sources.map { source -> any MatrixRows in ResidentRows(source) }
    for (source, rule) in zip(resident, rules(resident)) {
      unsafe source.forEachTile { range, values in unsafe rule.apply(to: values, range) }
    }
    return ResidentRows(ElementwiseRows(resident, [], rule))
  }

  @unsafe func values(of range: Range<Int>) -> UnsafeMutablePointer<Float> {
    unsafe write(range, to: tile.floats)
    return unsafe tile.floats
  }

  @unsafe func write(_ range: Range<Int>, to out: UnsafeMutablePointer<Float>) {
    var deltas: [UnsafePointer<Float>?] = unsafe []
    for (index, source) in sources.enumerated() {
      let values = unsafe source.values(of: range)
      if index < rules.count { unsafe rules[index].apply(to: values, range) }
      unsafe deltas.append(UnsafePointer(values))
    }
    unsafe rule.combine(deltas, range.count * columns, into: out)
  }
}

/// How entries of several deltas become one.
struct CombinationRule: Sendable {
  private let votes: [Float]
  private let weights: [Float]
  /// nil where no sign is elected.
  private let divisor: Int32?
  private let factor: Float

  init(_ method: MergeMethod, weights: [Double]) {
    self.weights = weights.map { Float($0) }
    votes = method.flavor == .peft ? weights.map { _ in 1 } : self.weights
    factor = Float(method.usesLambda ? method.lambda : 1)
    switch (method.elects, method.kind, method.flavor) {
    case (false, _, _): divisor = nil
    case (_, .dareTies, .mergekit): divisor = Int32(LMOE_DIVIDE_BY_NOTHING)
    case (_, _, .peft): divisor = Int32(LMOE_DIVIDE_BY_COUNT)
    default: divisor = Int32(LMOE_DIVIDE_BY_WEIGHTS)
    }
  }

  @unsafe func combine(_ deltas: [UnsafePointer<Float>?], _ count: Int, into out: UnsafeMutablePointer<Float>)
  {
    if let divisor {
      return unsafe lmoe_elect(deltas, deltas.count, votes, weights, divisor, factor, count, out)
    }
    for unsafe(index, delta) in unsafe deltas.enumerated() {
      if index == 0 {
        unsafe lmoe_scale(delta, weights[index] * factor, count, out)
      } else {
        unsafe lmoe_add_scaled(out, delta, weights[index] * factor, count)
      }
    }
  }
}
