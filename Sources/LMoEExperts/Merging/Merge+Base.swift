import LMoEFormat

extension Merge {
  /// The weights of the base, if they were given.
  public var baseWeights: BaseWeights? { base }

  /// Makes sure that no two experts are known to be of different bases.
  ///
  /// - Throws: `ExpertError` with `base-mismatch`.
  public func requireOneBase() throws {
    var known = base?.description.sourceID
    for input in inputs {
      guard let id = input.baseSourceID else { continue }
      if let known, !isSameID(known, id) {
        throw ExpertError(.baseMismatch, path: input.path, expected: known, found: id)
      }
      known = id
    }
  }
}

extension MergeInput {
  /// Whether it rescales the base's weights (DoRA).
  public var usesBase: Bool { modules.values.contains(where: \.isDoRA) }
}
