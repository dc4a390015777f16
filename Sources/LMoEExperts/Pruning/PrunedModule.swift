private import CLMoEKernels
import LMoEFormat

/// A module of an expert that was pruned.
public struct PrunedModule: Sendable {
  /// Its name.
  public let name: String
  /// The rank it had.
  public let oldRank: Int
  /// The rank it has.
  public let rank: Int
  /// ‖s·B·A‖_F before, without magnitudes (DoRA).
  public let norm: Double
  /// ‖s·B·A‖_F now.
  public let newNorm: Double
  /// ‖s·B·A − s·B'·A'‖_F.
  public let residual: Double
  /// Parameters of the factors before, and of those that are left the ones that are not zero.
  public let parameters: (before: Int, after: Int)
  /// The new factors, as the tensors have them; nil where they stay.
  let factors: LowRankProduct?
  let source: MergeInput.Module
  /// How they are stored.
  let precisions: (a: MergedExpert.Precision, b: MergedExpert.Precision)

  /// ‖ΔW − pruned‖ / ‖ΔW‖; 0 for a delta that is 0.
  public var error: Double { norm > 0 ? residual / norm : 0 }

  /// Prunes the product of the factors as the tensors have them: of an embedding, too, A is by ranks.
  ///
  /// - Parameter types: Those of the factors, which new ones are rounded to if they are of floats.
  /// - Throws: `ExpertError` with `no-linear-algebra` or `linear-algebra`.
  init(
    _ module: MergeInput.Module, _ product: LowRankProduct, by rule: WeightPruning.Rule,
    types: (a: TensorType?, b: TensorType?)
  ) throws {
    (name, oldRank, source) = (module.name, module.rank, module)
    precisions = (Self.precision(types.a), Self.precision(types.b))
    let whole = ProductSum(terms: [ProductSum.Term(coefficient: 1, product: product)])
    let chosen =
      switch rule {
      case .rank(let rank): rank < module.rank ? try whole.decomposed().product(rank: rank) : nil
      case .energy(let share): try Self.holding(share, of: whole)
      case .entries(let density): Self.sparse(product, density)
      }
    let scale = module.scaling.magnitude
    let squared = try whole.squaredNorm()
    norm = scale * squared.squareRoot()
    let (a, b) = precisions
    let made = chosen.map {
      LowRankProduct(rank: $0.rank, a: $0.a.rounded(to: a), b: $0.b.rounded(to: b))
    }
    factors = made
    let count = product.a.count + product.b.count
    guard let made else {
      (rank, newNorm, residual, parameters) = (module.rank, norm, 0, (count, count))
      return
    }
    rank = made.rank
    let kept = ProductSum(terms: [ProductSum.Term(coefficient: 1, product: made)])
    newNorm = scale * (try kept.squaredNorm()).squareRoot()
    // Of numbers that are nearly as large as each other: never more than there was.
    residual = scale * min(squared, try whole.squaredDistance(to: made)).squareRoot()
    let left = made.a.count { $0 != 0 } + made.b.count { $0 != 0 }
    parameters = (count, rank < module.rank ? made.a.count + made.b.count : left)
  }

  private static func precision(_ type: TensorType?) -> MergedExpert.Precision {
    switch type?.dtype {
    case .f16 where type?.geometry == nil: .f16
    case .bf16 where type?.geometry == nil: .bf16
    default: .f32
    }
  }

  /// The smallest product that holds that share of Σσ²; nil if that is all of the rank.
  private static func holding(_ share: Double, of whole: ProductSum) throws -> LowRankProduct? {
    let found = try whole.decomposed()
    let rank = max(1, min(found.rank(holding: share), whole.rank))
    return rank < whole.rank ? try found.product(rank: rank) : nil
  }

  /// The factors with their smallest entries set to zero, each by itself; nil if all stay.
  private static func sparse(_ product: LowRankProduct, _ density: Double) -> LowRankProduct? {
    guard density < 1 else { return nil }
    return LowRankProduct(
      rank: product.rank, a: largest(product.a, density, columns: product.columns),
      b: largest(product.b, density, columns: product.rank))
  }

  private static func largest(_ values: [Float], _ density: Double, columns: Int) -> [Float] {
    let kept = max(1, Int(density * Double(values.count)))
    guard kept < values.count else { return values }
    let least = FloatRows(values, columns: columns).magnitudes(at: [values.count - kept])[0]
    return values.map { $0.magnitude >= least ? $0 : 0 }
  }
}

extension [Float] {
  /// What is left of values that are stored so.
  fileprivate func rounded(to precision: MergedExpert.Precision) -> [Float] {
    guard precision != .f32 else { return self }
    return unsafe [Float](unsafeUninitializedCapacity: count) { out, written in
      unsafe withUnsafeTemporaryAllocation(of: UInt16.self, capacity: Swift.max(count, 1)) { halves in
        guard let out = out.baseAddress, let halves = halves.baseAddress else { return }
        if precision == .f16 {
          unsafe lmoe_to_f16(self, count, halves)
        } else {
          unsafe lmoe_to_bf16(self, count, halves)
        }
        unsafe lmoe_to_f32(halves, count, Int32(precision == .f16 ? LMOE_F16 : LMOE_BF16), out)
      }
      written = count
    }
  }
}
