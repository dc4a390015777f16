import LMoECore

/// A module of a merge, with the factors of every expert that changes it.
struct LoadedModule: Sendable {
  /// What one expert does to it.
  struct Term: Sendable {
    /// The number of the expert among the inputs.
    let input: Int
    /// What it counts.
    let weight: Double
    /// s.
    let scaling: Double
    /// B·A in the orientation of the weight: of an embedding its transpose.
    let product: LowRankProduct
    /// The bias of B.
    let bias: [Float]?
    /// DoRA's magnitudes: one a row, of an embedding one a column.
    let magnitude: [Float]?
  }

  let name: String
  let rows: Int
  let columns: Int
  let isEmbedding: Bool
  let terms: [Term]
  /// The base's weight by rows, where a term needs it.
  let base: [Float]?

  /// Whether every delta is a product of factors.
  var isFactored: Bool { terms.allSatisfy { $0.magnitude == nil } }

  /// The sum of the deltas, each multiplied with a number.
  func sum(_ coefficients: [Double]) -> ProductSum {
    ProductSum(
      terms: zip(terms, coefficients).map {
        ProductSum.Term(coefficient: $1 * $0.scaling, product: $0.product)
      })
  }

  /// ⟨δᵢ, δⱼ⟩ for all pairs, from the factors: tr((AᵢAⱼᵀ)(BⱼᵀBᵢ)).
  func innerProducts() throws -> [[Double]] {
    let a = terms.map { Matrix(columns: $0.product.a, count: $0.product.rank) }
    let b = terms.map { Matrix(rows: $0.product.b, columns: $0.product.rank) }
    var result = [[Double]](repeating: [Double](repeating: 0, count: terms.count), count: terms.count)
    for first in terms.indices {
      for second in first..<terms.count {
        let left = try a[first].times(a[second], transposingSelf: true)
        let right = try b[first].times(b[second], transposingSelf: true)
        let sum = zip(left.values, right.values).reduce(0) { $0 + $1.0 * $1.1 }
        result[first][second] = sum * terms[first].scaling * terms[second].scaling
        result[second][first] = result[first][second]
      }
    }
    return result
  }
}

extension [Float] {
  /// The transpose of a matrix that is given by rows.
  func transposed(columns: Int) -> [Float] {
    LMoEExperts.transposed(self, rows: columns == 0 ? 0 : count / columns, columns: columns)
  }
}
