import LMoECore

/// What a merge made of a module.
public struct MergedModule: Sendable {
  /// Its name.
  public let name: String
  /// Whether it is an embedding; the product is in the orientation of its weight all the same.
  public let isEmbedding: Bool
  /// The delta as it will be stored.
  public let product: LowRankProduct
  /// The bias of B.
  public private(set) var bias: [Float]?
  /// ‖ΔW‖_F of the delta that the method asks for.
  public let norm: Double
  /// ‖ΔW − B·A‖_F of what is stored.
  public let residual: Double

  /// ‖ΔW − B·A‖ / ‖ΔW‖; 0 for a delta that is 0.
  public var error: Double { norm > 0 ? residual / norm : 0 }

  /// Gives it a bias of zeros, if it has none.
  mutating func fillBias() { bias = bias ?? [Float](repeating: 0, count: product.rows) }
}

extension MergedModule {
  /// A module whose delta is a product as it is.
  init(plain name: String, _ product: LowRankProduct) {
    (self.name, self.product) = (name, product)
    (isEmbedding, bias, norm, residual) = (false, nil, 0, 0)
  }

  /// A module whose delta was approximated.
  init(_ name: String, _ found: RandomizedSVD) {
    (self.name, product) = (name, found.product)
    (isEmbedding, bias) = (false, nil)
    (norm, residual) = (found.energy.squareRoot(), found.residual.squareRoot())
  }

  /// Merges the deltas of a module.
  ///
  /// - Parameters:
  ///   - all: The weights of all experts, those that do not change the module among them.
  ///   - keys: What random choices for each of the terms follow from.
  /// - Throws: `ExpertError` with `no-linear-algebra` or `linear-algebra`.
  init(
    _ module: LoadedModule, all: [Double], by method: MergeMethod, rank: RankChoice, keys: [UInt64]
  ) throws {
    let weights = module.terms.map(\.weight)
    let largest = module.terms.reduce(1) { max($0, $1.product.rank) }
    (name, isEmbedding) = (module.name, module.isEmbedding)
    bias = Self.bias(module, weights, all, method, keys)
    if method.kind == .knots, module.isFactored {
      let product = try Knots.merge(module, weights: weights, by: method)
      let sum = ProductSum(terms: [ProductSum.Term(coefficient: 1, product: product)])
      (self.product, norm, residual) = try Self.reduced(sum, to: rank, otherwise: product)
      return
    }
    if method.isLinear {
      let coefficients = try MergeCoefficients.of(
        method, weights: weights, all: all, places: module.terms.map(\.input)
      ) {
        try module.isFactored ? module.innerProducts() : module.denseInnerProducts()
      }
      if module.isFactored {
        let sum = module.sum(coefficients)
        let choice: RankChoice = method.kind == .svd && rank == .natural ? .rank(largest) : rank
        (product, norm, residual) = try Self.reduced(
          sum, to: choice, otherwise: method.kind == .cat ? sum.stacked : nil)
        return
      }
      let found = try Self.approximated(SummedRows(module, coefficients), rank, largest)
      (product, norm, residual) = (found.product, found.energy.squareRoot(), found.residual.squareRoot())
      return
    }
    let merged = ElementwiseRows.merging(
      module.terms.indices.map { TermRows(module, $0) }, weights: weights, keys: keys, by: method)
    let found = try Self.approximated(merged, rank, largest)
    (product, norm, residual) = (found.product, found.energy.squareRoot(), found.residual.squareRoot())
  }

  /// A sum of products as one of the rank asked for.
  private static func reduced(
    _ sum: ProductSum, to rank: RankChoice, otherwise natural: LowRankProduct?
  ) throws -> (LowRankProduct, norm: Double, residual: Double) {
    if rank == .natural, let natural {
      let norm = try sum.squaredNorm()
      return (natural, norm.squareRoot(), try sum.squaredDistance(to: natural).squareRoot())
    }
    let found = try sum.decomposed()
    let kept =
      switch rank {
      case .natural: max(1, found.numericalRank)
      case .rank(let rank): rank
      case .energy(let share): max(1, found.rank(holding: share))
      }
    let product = try found.product(rank: kept)
    return (
      product, found.energy.squareRoot(), try sum.squaredDistance(to: product).squareRoot()
    )
  }

  private static func approximated(
    _ rows: any MatrixRows, _ rank: RankChoice, _ largest: Int
  ) throws -> RandomizedSVD {
    switch rank {
    case .natural: try RandomizedSVD(rows, rank: largest, seed: 0)
    case .rank(let rank): try RandomizedSVD(rows, rank: rank, seed: 0)
    case .energy(let share): try RandomizedSVD(rows, rank: largest, energy: share, seed: 0)
    }
  }

  /// The biases of B, merged as the deltas are: a vector is a matrix of one row.
  static func bias(
    _ module: LoadedModule, _ weights: [Double], _ all: [Double], _ method: MergeMethod, _ keys: [UInt64]
  ) -> [Float]? {
    let places = module.terms.indices.filter { module.terms[$0].bias != nil }
    guard !places.isEmpty else { return nil }
    let vectors = places.map { place in
      (module.terms[place].bias ?? []).map { Float(Double($0) * module.terms[place].scaling) }
    }
    let own = places.map { weights[$0] }
    guard !method.isLinear, method.kind != .knots else {
      let factor = method.usesLambda ? method.lambda : 1
      return (0..<module.rows).map { row in
        Float(zip(vectors, own).reduce(0.0) { $0 + Double($1.0[row]) * $1.1 } * factor)
      }
    }
    return ElementwiseRows.merging(
      vectors.map { FloatRows($0, columns: module.rows) }, weights: own,
      keys: places.map { keys[$0] &+ 0x9E37_79B9_7F4A_7C15 }, by: method
    ).floats
  }
}

extension ProductSum {
  /// ‖·‖²_F from the Gram matrices of the stacked factors.
  func squaredNorm() throws -> Double {
    let a = try Matrix(columns: terms.flatMap(\.product.a), count: rank).gram()
    let b = try Matrix(rows: stackedB, columns: rank).gram()
    let c = terms.flatMap { Array(repeating: $0.coefficient, count: $0.product.rank) }
    var sum = 0.0
    for column in 0..<rank {
      for row in 0..<rank { sum += c[row] * c[column] * a[row, column] * b[row, column] }
    }
    return max(0, sum)
  }

  /// ‖· − B·A‖²_F, measured on the factors as they are stored.
  func squaredDistance(to product: LowRankProduct) throws -> Double {
    try ProductSum(terms: terms + [Term(coefficient: -1, product: product)]).squaredNorm()
  }
}

extension LoadedModule {
  /// ⟨δᵢ, δⱼ⟩ where magnitudes make deltas more than products.
  func denseInnerProducts() -> [[Double]] {
    let sources = terms.indices.map { TermRows(self, $0) }
    var result = [[Double]](repeating: [Double](repeating: 0, count: terms.count), count: terms.count)
    let height = DeltaRows.height(columns: columns, rows: rows)
    for start in stride(from: 0, to: rows, by: height) {
      let range = start..<min(start + height, rows)
      let count = range.count * columns
      let tiles = sources.map { source in
        unsafe Array(UnsafeBufferPointer(start: source.values(of: range), count: count))
      }
      for first in terms.indices {
        for second in first..<terms.count {
          let sum = zip(tiles[first], tiles[second]).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
          result[first][second] += sum
          if first != second { result[second][first] += sum }
        }
      }
    }
    return result
  }
}
