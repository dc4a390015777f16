public import LMoECore

/// An expert that was computed from others, or from models: deltas of low rank, and where they come from.
public struct MergedExpert: Sendable {
  /// How an expert was made, as its card says it.
  public struct Origin: Sendable {
    /// The command.
    public let command: String
    /// What it did (registry §5.7).
    public let record: [(String, JSON)]
    /// The name of the base, where it is known.
    public let baseName: String?
    /// The source id of the base, where it is known.
    public let baseSourceID: String?
  }

  /// The modules by name.
  public let modules: [MergedModule]
  /// How it was made.
  public let origin: Origin

  /// ‖ΔW − merged‖ / ‖ΔW‖ over all modules.
  public var error: Double {
    let norm = modules.reduce(0) { $0 + $1.norm * $1.norm }
    return norm > 0 ? (modules.reduce(0) { $0 + $1.residual * $1.residual } / norm).squareRoot() : 0
  }

  /// ‖ΔW‖_F over all modules.
  public var norm: Double { modules.reduce(0) { $0 + $1.norm * $1.norm }.squareRoot() }

  /// The smallest and the largest rank.
  public var ranks: ClosedRange<Int> {
    let ranks = modules.map(\.product.rank)
    return (ranks.min() ?? 0)...(ranks.max() ?? 0)
  }

  /// The number of elements of all tensors.
  public var parameters: Int {
    modules.reduce(0) { $0 + $1.product.a.count + $1.product.b.count + ($1.bias?.count ?? 0) }
  }
}
