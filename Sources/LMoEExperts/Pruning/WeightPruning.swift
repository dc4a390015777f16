public import LMoECore
import LMoEFormat

/// Makes an expert smaller by what its own weights say, without a look at any data.
public struct WeightPruning: Sendable {
  /// What stays of the factors of a module.
  public enum Rule: Hashable, Sendable {
    /// The best product of a rank.
    case rank(Int)
    /// The best product of the smallest rank that holds this share of Σσ².
    case energy(Double)
    /// This share of the entries of A and of B, those of the largest magnitudes; the others become zero.
    case entries(density: Double)
  }

  /// The expert.
  public let input: MergeInput
  /// What stays of it.
  public let rule: Rule
  /// Its modules by name.
  private let modules: [MergeInput.Module]

  /// Factors that are read at a time.
  private static let batchBytes = 24 << 20

  /// Plans to prune an expert.
  ///
  /// - Throws: `ExpertError` with `invalid-pruning` for a rule that makes no sense, or an expert without modules.
  public init(_ input: MergeInput, to rule: Rule) throws {
    (self.input, self.rule) = (input, rule)
    func refuse(_ found: String) -> ExpertError {
      ExpertError(.invalidPruning, path: input.path, found: found)
    }
    switch rule {
    case .rank(let rank) where !(1...(1 << 16)).contains(rank):
      throw refuse("the rank \(rank) is not from 1 to 65,536")
    case .energy(let share) where !(share > 0 && share <= 1):
      throw refuse("the share \(share) of the energy is not above 0 and at most 1")
    case .entries(let density) where !(density > 0 && density <= 1):
      throw refuse("the density \(density) is not above 0 and at most 1")
    default: break
    }
    guard !input.modules.isEmpty else { throw refuse("it has no factors that could become smaller") }
    modules = input.modules.sorted { $0.key < $1.key }.map(\.value)
  }

  /// The number of its modules.
  public var moduleCount: Int { modules.count }

  /// Prunes module by module, in the order of their names.
  ///
  /// - Parameters:
  ///   - progress: Called with the number of modules that are done.
  /// - Throws: `ExpertError` with `non-finite`, `no-linear-algebra` or `linear-algebra`; `FormatError`.
  public func run(
    on pool: WorkerPool = .shared, progress: @Sendable (Int) -> Void = { _ in }
  ) throws -> PrunedExpert {
    try LinearAlgebra.require()
    var pruned: [PrunedModule] = []
    pruned.reserveCapacity(modules.count)
    while pruned.count < modules.count {
      var end = pruned.count
      var bytes = 0
      repeat {
        bytes += modules[end].rank * (modules[end].rows + modules[end].columns) * 4
        end += 1
      } while end < modules.count && bytes < Self.batchBytes
      pruned += try run(Array(modules[pruned.count..<end]), on: pool)
      progress(end)
    }
    return PrunedExpert(rule: rule, modules: pruned)
  }

  private func run(_ modules: [MergeInput.Module], on pool: WorkerPool) throws -> [PrunedModule] {
    let values = try input.tensors.floats(modules.flatMap { [$0.a, $0.b] }, on: pool)
    let results = Guarded([PrunedModule?](repeating: nil, count: modules.count))
    try OrderedJobs<any Error>.run(count: modules.count, on: pool) { [self] (turn) throws(any Error) in
      let module = modules[turn.index]
      let b = values[2 * turn.index + 1]
      let product = LowRankProduct(
        rank: module.rank, a: values[2 * turn.index],
        b: module.isTransposedB ? b.transposed(columns: module.rows) : b)
      let made = try PrunedModule(
        module, product, by: rule, types: (input.tensors.type(of: module.a), input.tensors.type(of: module.b))
      )
      guard made.norm.isFinite, made.residual.isFinite else {
        throw ExpertError(.nonFinite, path: input.path, name: made.name, found: "the product of its factors")
      }
      results.withValue { $0[turn.index] = made }
    }
    return results.withValue { $0.compactMap(\.self) }
  }
}

/// An expert that was pruned.
public struct PrunedExpert: Sendable {
  /// What stayed.
  public let rule: WeightPruning.Rule
  /// Its modules by name.
  public let modules: [PrunedModule]

  /// ‖ΔW − pruned‖ / ‖ΔW‖ over all modules.
  public var error: Double {
    let norm = modules.reduce(0) { $0 + $1.norm * $1.norm }
    return norm > 0 ? (modules.reduce(0) { $0 + $1.residual * $1.residual } / norm).squareRoot() : 0
  }

  /// The numbers of parameters of the factors: before, and what is left (of entries, those that are not zero).
  public var parameters: (before: Int, after: Int) {
    modules.reduce((0, 0)) { ($0.0 + $1.parameters.before, $0.1 + $1.parameters.after) }
  }

  /// The smallest and the largest rank.
  public var ranks: ClosedRange<Int> {
    let ranks = modules.map(\.rank)
    return (ranks.min() ?? 0)...(ranks.max() ?? 0)
  }

  /// Whether anything is other than it was.
  public var isChanged: Bool { modules.contains { $0.factors != nil } }
}
