/// What one gate decided for the rows of a pass, as sums.
struct GateMeans: Sendable {
  var rows = 0
  /// Σ of the weights of each column.
  var weights: [Double] = []
  /// Σ of the entropy of the routed weights, as a share of the largest.
  var entropy = 0.0
  /// Of each routed member: Σ p, and how often it was chosen.
  var probability: [Double] = []
  var choices: [Double] = []
  /// Σ log² Σ exp z, Σ H(p), Σ −log p[label].
  var squares = 0.0
  var probabilityEntropy = 0.0
  var supervised = 0.0

  init() {}

  init(_ gate: GateInstance) {
    weights = [Double](repeating: 0, count: gate.width)
    probability = [Double](repeating: 0, count: gate.routed.count)
    choices = probability
  }

  mutating func add(_ other: GateMeans) {
    rows += other.rows
    for (column, value) in other.weights.enumerated() { weights[column] += value }
    for (index, value) in other.probability.enumerated() { probability[index] += value }
    for (index, value) in other.choices.enumerated() { choices[index] += value }
    entropy += other.entropy
    squares += other.squares
    probabilityEntropy += other.probabilityEntropy
    supervised += other.supervised
  }

  /// P: the mean of p of a routed member.
  func meanProbability(_ index: Int) -> Double { probability[index] / Double(max(1, rows)) }

  /// f: the share of the choices that fell on a routed member.
  func load(_ index: Int) -> Double {
    let total = choices.reduce(0, +)
    return total > 0 ? choices[index] / total : 0
  }

  /// What it adds to the statistics of a step.
  func statistics(of gate: GateInstance, _ scale: AuxiliaryLosses.Scale) -> RoutingStatistics {
    var result = RoutingStatistics()
    (result.weights, result.rows, result.entropy) = (weights, rows, entropy)
    guard rows > 0, !gate.routed.isEmpty else { return result }
    let share = Double(rows) / Double(scale.rows) / Double(scale.gates)
    let count = Double(gate.routed.count)
    let means = probability.indices.map(meanProbability)
    let balance =
      gate.normaliser.choosesSome
      ? means.indices.reduce(0) { $0 + load($1) * means[$1] } : means.reduce(0) { $0 + $1 * $1 }
    result.auxiliary.balance = share * count * balance
    result.auxiliary.z = share * squares / Double(rows)
    let entropyOfMean = means.reduce(0) { $0 - ($1 > 0 ? $1 * GateWork.logarithm($1) : 0) }
    result.auxiliary.mutualInformation = share * (probabilityEntropy / Double(rows) - entropyOfMean)
    result.auxiliary.supervised = supervised / Double(max(1, scale.labelled))
    return result
  }
}

extension GateInstance.Normaliser {
  /// Whether it chooses some of the members.
  var choosesSome: Bool {
    switch self {
    case .none, .softmax: false
    case .topKRenormalised, .topKRaw: true
    }
  }
}
