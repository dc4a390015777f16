/// What a gate lost with experts that left.
public struct GateChange: Hashable, Sendable {
  /// The gate's name.
  public let gate: String
  /// Rows of a learned gate.
  public let rowCount: Int
  /// Members on its list.
  public let memberCount: Int
  /// Weights on its list.
  public let weightCount: Int
  /// Whether no expert is left that it could mix.
  public let isDeserted: Bool
}

extension GateChange: CustomStringConvertible {
  /// One sentence, with the remedy where there is something to mend.
  public var description: String {
    var parts: [String] = []
    func add(_ count: Int, _ what: String) {
      if count > 0 { parts.append("\(count) \(what)\(count == 1 ? "" : "s")") }
    }
    add(memberCount, "member")
    add(weightCount, "weight")
    add(rowCount, "row")
    var text = "gate/\(gate) lost " + parts.joined(separator: ", ")
    if isDeserted {
      text += " and has no expert left: make it anew with \"gate init\", or take it out with \"gate drop\""
    } else if weightCount > 0 {
      text += "; the other weights are as they were, whatever they add up to"
    }
    return text
  }
}
