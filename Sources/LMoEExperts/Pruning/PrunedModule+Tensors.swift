import LMoEFormat

extension PrunedModule {
  /// Its new factors under the names and in the types that they had; none where they stay.
  func entries() throws -> [NewEntry] {
    guard let factors else { return [] }
    let precision: MergedExpert.Precision =
      switch source.dtype {
      case .f16: .f16
      case .bf16: .bf16
      default: .f32
      }
    let (rank, columns, rows) = (factors.rank, factors.columns, factors.rows)
    return [
      try MergedExpert.entry(source.a, [rank, columns], factors.a, precision),
      try MergedExpert.entry(source.b, [rows, rank], factors.b, precision),
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
