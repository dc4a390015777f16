public import LMoECore

extension Gate {
  /// The card that says what the gate is (registry §5.3).
  ///
  /// - Parameter provenance: How it was made; nil for a gate that every fresh bundle has.
  public func card(provenance: JSON? = nil) -> JSON {
    var card: [(String, JSON)] = [
      ("card", Cards.schema), ("kind", "gate"), ("score", .string(score.name)),
    ]
    if case .prototype(let similarity) = score {
      card.append(("similarity", .string(similarity.rawValue)))
    }
    card += [
      ("input", .string(input.rawValue)), ("scope", .string(scope.rawValue)),
      ("pooling", .string(pooling.rawValue)), ("normaliser", .string(normaliser.name)),
      ("k", normaliser.k.map { .integer($0) } ?? .null), ("temperature", .double(temperature)),
      ("mask", "none"),
    ]
    switch score {
    case .constant(.uniform): card.append(("weights", "uniform"))
    case .constant(.given(let weights)):
      card.append(
        (
          "weights",
          .array(
            weights.map { ["expert": .string($0.expert.description), "weight": .double($0.value)] })
        ))
    case .linear, .prototype: break
    }
    switch members {
    case .all: card.append(("members", "all"))
    case .listed(let members):
      card.append(
        (
          "members",
          .array(
            members.map {
              ["expert": .string($0.expert.description), "role": .string($0.role.rawValue)]
            })
        ))
    }
    if let provenance { card.append(("provenance", provenance)) }
    return .object(card)
  }
}

extension Gate.Score {
  /// The registry's name.
  public var name: String {
    switch self {
    case .constant: "constant"
    case .linear: "linear"
    case .prototype: "prototype"
    }
  }
}

extension Gate.Normaliser {
  /// The registry's name.
  public var name: String {
    switch self {
    case .none: "none"
    case .softmax: "softmax"
    case .topKRenormalised: "top-k-renormalised"
    case .topKRaw: "top-k-raw"
    }
  }
}
