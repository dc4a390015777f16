public import LMoECore
public import LMoEExperts
public import LMoEFormat

/// The base of a bundle with its weights in memory, for any number of models with different experts.
public final class LoadedBase: Sendable {
  /// The bundle.
  public let bundle: Bundle
  /// The model, and where its weights are.
  public let description: BaseDescription
  /// Whether the weights are used from the memory map, without a copy.
  public var isMapped: Bool { store.isMapped }
  let pool: WorkerPool
  let store: WeightStore

  /// Loads the base of `bundle`.
  ///
  /// - Parameters:
  ///   - path: A checkpoint or bundle that holds the weights, if the bundle does not.
  ///   - pool: The workers.
  /// - Throws: `ExpertError`, `FormatError`, `RuntimeError` with `unsupported-type`.
  public init(_ bundle: Bundle, at path: String? = nil, on pool: WorkerPool = .shared) throws {
    self.bundle = bundle
    self.pool = pool
    description = try bundle.baseDescription()
    store = try WeightStore.load(ResolvedBase(bundle, at: path), on: pool)
  }

  /// A tensor by its name in the model.
  func weight(_ name: String) throws -> Weight {
    guard let weight = optionalWeight(name) else {
      throw ExpertError(
        .missingWeight, path: bundle.path, name: name, expected: description.model.family.rawValue)
    }
    return weight
  }

  /// A tensor by its name in the model; nil if it has none of that name.
  func optionalWeight(_ name: String) -> Weight? {
    description.names.stored(name).flatMap { store[$0] }
  }

  /// The first tensor that holds an infinity or a NaN, and the first such element; nil if there is none.
  func firstNonFinite() -> (tensor: String, element: Int)? {
    for (name, weight) in store.all {
      if let element = weight.firstNonFinite { return (name, element) }
    }
    return nil
  }
}
