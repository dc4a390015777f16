public import LMoECore
import LMoEFormat

/// How like the deltas of two experts are, module by module.
public struct DeltaComparison: Sendable {
  /// A module that one of them changes.
  public struct Module: Sendable {
    /// Its name.
    public let name: String
    /// ‖δ₁‖_F; nil if the first leaves it alone.
    public let first: Double?
    /// ‖δ₂‖_F; nil if the second leaves it alone.
    public let second: Double?
    /// ⟨δ₁, δ₂⟩.
    public let product: Double

    /// ⟨δ₁, δ₂⟩ / (‖δ₁‖·‖δ₂‖); nil where one of them is 0 or not there.
    public var cosine: Double? { Self.cosine(first ?? 0, second ?? 0, product) }

    /// ‖δ₁ − δ₂‖_F.
    public var distance: Double {
      let (one, other) = (first ?? 0, second ?? 0)
      return max(0, one * one + other * other - 2 * product).squareRoot()
    }

    static func cosine(_ first: Double, _ second: Double, _ product: Double) -> Double? {
      first > 0 && second > 0 ? product / (first * second) : nil
    }
  }

  /// The modules by name.
  public let modules: [Module]

  /// Compares two experts.
  ///
  /// - Throws: `ExpertError` with `merge-mismatch` for experts of models of different shapes, `no-static-delta` where
  ///   magnitudes need a base and there is none, `non-finite`; `FormatError`.
  public init(
    _ first: MergeInput, _ second: MergeInput, base: BaseWeights? = nil, on pool: WorkerPool = .shared
  )
    throws
  {
    try LinearAlgebra.require()
    let merge = try Merge([first, second], by: MergeMethod(.linear), base: base)
    var modules: [Module] = []
    for module in merge.modules {
      let loaded = try merge.load([module], on: pool)[0]
      let products = try loaded.isFactored ? loaded.innerProducts() : loaded.denseInnerProducts()
      let places = [0, 1].map { input in loaded.terms.firstIndex { $0.input == input } }
      let norms = places.map { place in place.map { products[$0][$0].squareRoot() } }
      let product = places[0].flatMap { one in places[1].map { products[one][$0] } } ?? 0
      modules.append(Module(name: module.name, first: norms[0], second: norms[1], product: product))
    }
    self.modules = modules
  }

  /// All modules together.
  public var total: Module {
    func sum(_ norms: [Double?]) -> Double { norms.reduce(0) { $0 + ($1 ?? 0) * ($1 ?? 0) }.squareRoot() }
    return Module(
      name: "all", first: sum(modules.map(\.first)), second: sum(modules.map(\.second)),
      product: modules.reduce(0) { $0 + $1.product })
  }
}
