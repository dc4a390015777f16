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

  init(columns: [String]) { self.columns = columns }

  func record(_ place: String, _ rows: Rows) {
    if weights[place] == nil { places.append(place) }
    for row in 0..<rows.count { weights[place, default: []] += rows.array(row) }
  }

  /// Forgets what was taken down.
  public func clear() {
    weights = [:]
    places = []
  }
}
