extension NewGate {
  /// Every routed member alike, for every token.
  public static func uniform(scope: Gate.Scope = .global, members: Gate.Members = .all) -> NewGate {
    NewGate(
      Gate(.constant(.uniform), scope: scope, normaliser: .softmax, members: members),
      initialiser: "uniform")
  }

  /// The weights given, as they are.
  ///
  /// - Parameters:
  ///   - weights: Experts and their weights, of any sign and any sum.
  ///   - members: Who takes part; an expert with a weight must be routed.
  public static func constant(
    _ weights: [Gate.Weight], scope: Gate.Scope = .global, members: Gate.Members = .all
  ) -> NewGate {
    NewGate(
      Gate(.constant(.given(weights)), scope: scope, normaliser: .none, members: members),
      initialiser: "constant")
  }
}
