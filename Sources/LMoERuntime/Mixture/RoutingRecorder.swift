import LMoECore

/// Takes down what the gates decide, token by token.
public final class RoutingRecorder {
  /// The experts' names in the order of the columns; the null expert, if there is one, last and empty.
  public let columns: [String]
  /// The weights by place (a module, a layer or `global`): tokens × columns, in the order in which the tokens
  /// were computed.
  public private(set) var weights: [String: [Float]] = [:]
  /// The places in the order of the model.
  public private(set) var places: [String] = []

  /// Whether the weights of each token are kept, and not only their sums.
  private let keepsTokens: Bool
  private var sums: [String: (weights: [Double], rows: Int)] = [:]
  /// Σ|g| of each column over all tokens and places, where only sums are kept.
  private(set) var uses: [Double]
  /// Takes down how much the experts add, if anybody wants to know.
  let deltas: DeltaRecorder?

  init(columns: [String], keepsTokens: Bool = true, deltas: DeltaRecorder? = nil) {
    (self.columns, self.keepsTokens, self.deltas) = (columns, keepsTokens, deltas)
    uses = columns.map { _ in 0 }
  }

  func record(_ place: String, _ rows: Rows) {
    guard keepsTokens else { return add(place, rows) }
    if weights[place] == nil { places.append(place) }
    for row in 0..<rows.count { weights[place, default: []] += rows.array(row) }
  }

  private func add(_ place: String, _ rows: Rows) {
    if sums[place] == nil { places.append(place) }
    var sum = sums[place] ?? ([Double](repeating: 0, count: columns.count), 0)
    for row in 0..<rows.count {
      for column in sum.weights.indices {
        let weight = Double(rows[row, column])
        sum.weights[column] += weight
        uses[column] += weight.magnitude
      }
    }
    sum.rows += rows.count
    sums[place] = sum
  }

  /// The mean weight of each column at a place, where only sums are kept.
  func means(at place: String) -> [Float] {
    guard let sum = sums[place] else { return columns.map { _ in 0 } }
    return sum.weights.map { Float($0 / Double(max(1, sum.rows))) }
  }

  /// Forgets what was taken down.
  public func clear() {
    weights = [:]
    sums = [:]
    places = []
  }
}
