import LMoEFormat

extension PrunedModule {
  /// Its new factors under the names that they had; none where they stay.
  ///
  /// - Parameter type: Gives the type that a tensor had, which it keeps if it is one of floats.
  func entries(_ type: (String) -> TensorType?) throws -> [NewEntry] {
    guard let factors else { return [] }
    func entry(_ name: String, _ shape: [Int], _ values: [Float]) throws -> NewEntry {
      let precision: MergedExpert.Precision =
        switch type(name)?.dtype {
        case .f16: .f16
        case .bf16: .bf16
        default: .f32
        }
      return try MergedExpert.entry(name, shape, values, precision)
    }
    return [
      try entry(source.a, [factors.rank, factors.columns], factors.a),
      try entry(source.b, [factors.rows, factors.rank], factors.b),
    ]
  }

  /// α of the new rank, by the rule by which s followed from the old one: s·r, or s·√r for rank-stabilised LoRA.
  func alpha(from old: Double) -> Double {
    guard rank != oldRank else { return old }
    let isStabilised =
      old / Double(oldRank) != source.scaling
      && old / Double(oldRank).squareRoot() == source.scaling
    let divisor = isStabilised ? Double(rank).squareRoot() : Double(rank)
    let guess = source.scaling * divisor
    // One that gives exactly the same scaling, where there is one.
    return [guess, guess.nextUp, guess.nextDown].first { $0 / divisor == source.scaling } ?? guess
  }
}

extension ModuleGroup.Numbers {
  /// The same with another rank.
  init(_ other: Self, rank: Int, alpha: Double) {
    (self.rank, self.alpha, scaling) = (rank, alpha, other.scaling)
    (isEmbedding, isDoRA, hasBias) = (other.isEmbedding, other.isDoRA, other.hasBias)
  }
}
