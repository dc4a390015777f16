public import LMoECore

/// The part that each expert has in a gate, and its number in a constant one, found without a search.
public struct GateRoles: Sendable {
  /// nil for a gate of which every expert is a member.
  private let roles: [Bits128: Gate.Role]?
  private let weights: [Bits128: Double]

  /// Reads the lists of `gate`.
  public init(_ gate: Gate) {
    switch gate.members {
    case .all: roles = nil
    case .listed(let members):
      roles = Dictionary(
        members.map { ($0.expert, $0.role) }, uniquingKeysWith: { first, _ in first })
    }
    weights = Dictionary(
      gate.givenWeights.map { ($0.expert, $0.value) }, uniquingKeysWith: { first, _ in first })
  }

  /// The part of an expert of the bundle, or of the null expert; nil if it has none.
  public func role(of expert: Bits128) -> Gate.Role? {
    guard let roles else { return expert == Gate.nullExpert ? nil : .routed }
    return roles[expert]
  }

  /// The number that a constant gate gives an expert; nil if none is given.
  public func weight(of expert: Bits128) -> Double? { weights[expert] }

  /// The experts that the lists name, in the order of their ids.
  var listed: [Bits128] { Set(weights.keys).union(roles?.keys.map(\.self) ?? []).sorted() }
}

extension Gate {
  /// The numbers of a constant gate, if they are given.
  var givenWeights: [Weight] { if case .constant(.given(let weights)) = score { weights } else { [] } }
}
