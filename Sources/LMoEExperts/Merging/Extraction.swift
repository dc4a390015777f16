private import CLMoEKernels
public import LMoECore
import LMoEFormat

/// What a fine-tuned model changed of its base, about to become an expert of low rank.
public struct Extraction: Sendable {
  /// The base.
  public let base: BaseWeights
  /// The fine-tuned model.
  public let tuned: BaseWeights
  /// The matrices that are compared.
  public let modules: [String]
  /// Tensors that differ and that no low-rank delta holds: norms and biases, and matrices that were not asked for.
  public let others: [String]

  /// Compares the shapes of two models.
  ///
  /// - Parameter targets: Names of linear layers, whole or their last components, or `all-linear`.
  /// - Throws: `ExpertError` with `other-base` for models of different shapes, `no-such-target`.
  public init(base: BaseWeights, tuned: BaseWeights, targets: [String] = [NewExpert.allLinear]) throws {
    (self.base, self.tuned) = (base, tuned)
    let names = base.description.names
    for expected in names.model.tensors {
      guard let shape = tuned.description.names.shape(expected.name), shape == expected.shape else {
        throw ExpertError(
          .otherBase, path: tuned.path, name: expected.name, expected: base.path,
          found: tuned.description.names.shape(expected.name).map {
            "has the shape \($0), not \(expected.shape)"
          }
            ?? "is not there")
      }
    }
    let plan = try NewExpert("extracted", rank: 1, alpha: 1, targets: targets, on: base.description)
    modules = plan.modules.map(\.name)
    let taken = Set(modules.map { ByteKey($0 + ".weight") })
    others = try names.model.tensors.map(\.name).filter { name in
      guard !taken.contains(ByteKey(name)) else { return false }
      return try base.floats(of: name) != tuned.floats(of: name)
    }
  }

  /// Approximates the differences.
  ///
  /// - Parameters:
  ///   - rank: The largest rank.
  ///   - energy: The share of each difference's energy to hold, by no larger a rank than that.
  ///   - progress: Called with the number of modules that are done, from any worker.
  /// - Throws: `ExpertError` with `no-linear-algebra`, or `non-finite`; `FormatError`.
  public func run(
    rank: Int, energy: Double? = nil, on pool: WorkerPool = .shared,
    progress: @escaping @Sendable (Int) -> Void = { _ in }
  ) throws -> MergedExpert {
    try LinearAlgebra.require()
    let results = Guarded([MergedModule?](repeating: nil, count: modules.count))
    try OrderedJobs<any Error>.run(count: modules.count, on: pool) { [self] (turn) throws(any Error) in
      let name = modules[turn.index]
      guard let before = try base.floats(of: name + ".weight"),
        let after = try tuned.floats(of: name + ".weight"),
        let columns = base.description.names.shape(name + ".weight")?.last
      else { return }
      let difference = FloatRows(before, columns: columns)
      let place = unsafe difference.values(of: 0..<difference.rows)
      for index in after.indices { unsafe place[index] = after[index] - place[index] }
      if let first = (0..<after.count).first(where: { unsafe !place[$0].isFinite }) {
        throw ExpertError(.nonFinite, path: tuned.path, name: name + ".weight", found: "\(first)")
      }
      let most = min(rank, difference.rows, difference.columns)
      var found = try RandomizedSVD(difference, rank: most, energy: energy, seed: 0)
      if found.product.rank > most { found = try RandomizedSVD(difference, rank: most, seed: 0) }
      let module = MergedModule(name, found)
      results.withValue { $0[turn.index] = module }
      _ = try turn.inTurn { progress(turn.index + 1) }
    }
    return MergedExpert(
      modules: results.withValue { $0.compactMap(\.self) },
      origin: MergedExpert.Origin(
        command: "extract", record: [("tuned", .string(originName(tuned.path)))],
        baseName: base.description.name ?? originName(base.path), baseSourceID: base.description.sourceID))
  }
}
