/// The weights of one token, in brief.
struct TokenRouting: Sendable {
  /// The mean weight of each column over the places; empty if nothing was taken down.
  let means: [Float]
  /// The column whose mean is largest, whatever its sign; nil where there is none, or several alike.
  let strongest: Int?
  /// The part of the strongest column in the sum of all means without their signs.
  let share: Float

  /// Sums up the weights of a token by place and column.
  init(_ weights: [[Float]]) {
    let rows = weights.filter { !$0.isEmpty }
    guard let width = rows.first?.count else {
      (means, strongest, share) = ([], nil, 0)
      return
    }
    var sums = [Double](repeating: 0, count: width)
    for row in rows {
      for (column, weight) in row.prefix(width).enumerated() where weight.isFinite {
        sums[column] += Double(weight)
      }
    }
    means = sums.map { Float($0 / Double(rows.count)) }
    let sizes = means.map { abs($0) }
    let total = sizes.reduce(0, +)
    let order = sizes.indices.sorted { sizes[$0] > sizes[$1] }
    guard let first = order.first, total > 0 else {
      (strongest, share) = (nil, 0)
      return
    }
    let second = order.count > 1 ? sizes[order[1]] : 0
    share = sizes[first] / total
    // Equal weights come out of sums and divisions: they are alike, not the first of them stronger.
    strongest = second > sizes[first] * 0.9999 ? nil : first
  }

  /// The mean weight of the strongest column.
  var weight: Float { strongest.map { means[$0] } ?? 0 }

  /// How sure the gates are: 0 where all columns are alike, 1 where one has everything.
  var certainty: Float {
    guard strongest != nil else { return 0 }
    guard means.count > 1 else { return 1 }
    let least = 1 / Float(means.count)
    return max(0, min(1, (share - least) / (1 - least)))
  }
}

/// The weights of all tokens of a text, in brief.
struct RoutingSummary: Sendable {
  /// The number of tokens that have weights.
  private(set) var tokenCount = 0
  /// The number of tokens for which each column is strongest.
  private(set) var leads: [Int]
  private var sums: [Double]

  /// Nothing yet.
  init(width: Int) {
    leads = Array(repeating: 0, count: width)
    sums = Array(repeating: 0, count: width)
  }

  /// Takes a token in.
  mutating func add(_ routing: TokenRouting) {
    guard !routing.means.isEmpty else { return }
    tokenCount += 1
    for (column, mean) in routing.means.prefix(sums.count).enumerated() { sums[column] += Double(mean) }
    if let strongest = routing.strongest, leads.indices.contains(strongest) { leads[strongest] += 1 }
  }

  /// The mean weight of a column.
  func mean(_ column: Int) -> Double { tokenCount > 0 ? sums[column] / Double(tokenCount) : 0 }

  /// The part of the tokens for which a column is strongest.
  func lead(_ column: Int) -> Double { tokenCount > 0 ? Double(leads[column]) / Double(tokenCount) : 0 }

  /// The part of the tokens for which none is.
  var undecided: Double {
    tokenCount > 0 ? Double(tokenCount - leads.reduce(0, +)) / Double(tokenCount) : 0
  }
}
