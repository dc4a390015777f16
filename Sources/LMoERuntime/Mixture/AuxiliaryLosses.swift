/// What is added to the loss of the text so that gates learn to choose well: each a mean over the gates.
///
/// p is the softmax over all E routed members, whatever is chosen of it.
public struct AuxiliaryLosses: Hashable, Sendable {
  /// Of E·Σ fᵢPᵢ.
  ///
  /// fᵢ is the share of the choices that fall on i, and counts as a constant; P is the mean of p. It is 1 for uniform load, whatever k is. Without a choice, of E·Σ Pᵢ².
  public var balance = 0.0
  /// Of the mean of log² Σ exp z, which keeps scores small.
  public var z = 0.0
  /// Of −I(token; expert) = mean H(p) − H(mean p): sure of each token, and all experts in use.
  public var mutualInformation = 0.0

  /// None.
  public init() {}

  /// Whether there is any.
  public var isEmpty: Bool { balance == 0 && z == 0 && mutualInformation == 0 }

  /// The losses of one pass of a step.
  struct Scale: Sendable {
    var losses = AuxiliaryLosses()
    /// Of the supervised loss −log p[label], where rows have labels.
    var supervised = 0.0
    /// Gates of the model.
    var gates = 1
    /// Rows of the whole step, and pairs of a row with a label and a gate that routes it.
    var rows = 1
    var labelled = 1
  }

  /// What they came to: each mean over gates and rows.
  public struct Values: Hashable, Sendable {
    /// E·Σ fᵢPᵢ, or E·Σ Pᵢ².
    public internal(set) var balance = 0.0
    /// log² Σ exp z.
    public internal(set) var z = 0.0
    /// mean H(p) − H(mean p).
    public internal(set) var mutualInformation = 0.0
    /// −log p[label] of the rows that had labels.
    public internal(set) var supervised = 0.0

    static func += (left: inout Values, right: Values) {
      left.balance += right.balance
      left.z += right.z
      left.mutualInformation += right.mutualInformation
      left.supervised += right.supervised
    }
  }
}

/// What gates decided in a step, summed up as it happens.
struct RoutingStatistics: Sendable {
  /// Σ of the weights of each column, and over how many rows and gates.
  var weights: [Double] = []
  var rows = 0
  /// Σ of the entropy of the routed weights as a share of the largest.
  var entropy = 0.0
  var auxiliary = AuxiliaryLosses.Values()

  /// Adds those of another pass.
  mutating func add(_ other: RoutingStatistics) {
    if weights.count < other.weights.count {
      weights += [Double](repeating: 0, count: other.weights.count - weights.count)
    }
    for (column, value) in other.weights.enumerated() { weights[column] += value }
    rows += other.rows
    entropy += other.entropy
    auxiliary += other.auxiliary
  }
}
