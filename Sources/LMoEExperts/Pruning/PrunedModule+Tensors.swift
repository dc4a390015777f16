import LMoEFormat

extension PrunedModule {
  /// Its new factors under the names that they had, of a quantized B as floats have it; none where they stay.
  func entries() throws -> [NewEntry] {
    guard let factors else { return [] }
    let (rank, columns, rows) = (factors.rank, factors.columns, factors.rows)
    return [
      try MergedExpert.entry(source.a, [rank, columns], factors.a, precisions.a),
      try MergedExpert.entry(nameOfB, [rows, rank], factors.b, precisions.b),
    ]
  }

  /// The name of a B that is not the transpose.
  private var nameOfB: String {
    guard source.isTransposedB, source.a.hasByteSuffix(StoredFactors.nameOfA) else { return source.b }
    return String(decoding: source.a.utf8.dropLast(StoredFactors.nameOfA.utf8.count), as: UTF8.self)
      + StoredFactors.nameOfB
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
