import LMoECore

extension ModelConfiguration {
  /// What another configuration says otherwise: weights alone do not make a model.
  ///
  /// - Returns: Keys as a card has them (`rope.theta`), with both values.
  public func differences(from other: ModelConfiguration) -> [(key: String, own: String, other: String)] {
    self == other ? [] : Self.differences(json, other.json, under: "")
  }

  private static func differences(
    _ left: JSON, _ right: JSON, under prefix: String
  ) -> [(key: String, own: String, other: String)] {
    guard let first = left.object, let second = right.object else {
      return left == right ? [] : [(prefix, left.shortText, right.shortText)]
    }
    let keys = first.members.map(\.key) + second.members.map(\.key).filter { first[$0] == nil }
    return keys.flatMap { key in
      differences(first[key] ?? .null, second[key] ?? .null, under: prefix.isEmpty ? key : prefix + "." + key)
    }
  }
}
