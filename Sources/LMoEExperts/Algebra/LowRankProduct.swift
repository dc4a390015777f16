/// The factors of a low-rank matrix: B·A.
public struct LowRankProduct: Sendable {
  /// r.
  public let rank: Int
  /// rank × columns, by rows.
  public let a: [Float]
  /// rows × rank, by rows.
  public let b: [Float]

  /// Takes factors.
  public init(rank: Int, a: [Float], b: [Float]) { (self.rank, self.a, self.b) = (rank, a, b) }

  /// The number of columns of the product.
  var columns: Int { rank == 0 ? 0 : a.count / rank }
  /// The number of rows of the product.
  var rows: Int { rank == 0 ? 0 : b.count / rank }
}

/// A matrix as a sum of products, Σ cᵢ·Bᵢ·Aᵢ: what a weighted sum of LoRA deltas is.
struct ProductSum {
  /// One of the products, and what it is multiplied with.
  struct Term {
    let coefficient: Double
    let product: LowRankProduct
  }

  let terms: [Term]

  /// Its singular values and vectors, from QR of the stacked factors and the SVD of the core between them.
  ///
  /// (Σ cᵢ·Bᵢ·Aᵢ) = Q_B·(R_B·diag(c)·R_Aᵀ)·Q_Aᵀ: no matrix of the size of the sum is made.
  ///
  /// - Throws: `ExpertError` with `no-linear-algebra`.
  func decomposed() throws -> LowRankDecomposition {
    let left = try ColumnBasis(Matrix(rows: stackedB, columns: rank))
    let right = try ColumnBasis(Matrix(columns: terms.flatMap(\.product.a), count: rank))
    var scaled = left.coordinates
    scaled.scaleColumns(terms.flatMap { Array(repeating: $0.coefficient, count: $0.product.rank) })
    let core = try scaled.times(right.coordinates, transposingOther: true).singularValues()
    return LowRankDecomposition(left: left, right: right, u: core.u, values: core.values, vt: core.vt)
  }

  /// Σ rᵢ.
  var rank: Int { terms.reduce(0) { $0 + $1.product.rank } }

  /// [B₁ … B_E], by rows.
  var stackedB: [Float] {
    guard terms.count > 1 else { return terms.first?.product.b ?? [] }
    let rows = terms.first?.product.rows ?? 0
    var result: [Float] = []
    result.reserveCapacity(rows * rank)
    for row in 0..<rows {
      for term in terms {
        let rank = term.product.rank
        result += term.product.b[row * rank..<(row + 1) * rank]
      }
    }
    return result
  }

  /// The sum as one product, by stacking: exact, of rank Σ rᵢ.
  ///
  /// The coefficients go into A.
  var stacked: LowRankProduct {
    LowRankProduct(
      rank: rank,
      a: terms.flatMap { term in
        term.coefficient == 1 ? term.product.a : term.product.a.map { Float(Double($0) * term.coefficient) }
      }, b: stackedB)
  }
}

/// The singular values of a low-rank matrix, and its vectors as they are needed.
struct LowRankDecomposition {
  let left: ColumnBasis
  let right: ColumnBasis
  let u: Matrix
  /// In falling order.
  let values: [Double]
  let vt: Matrix

  /// ‖·‖²_F.
  var energy: Double { values.reduce(0) { $0 + $1 * $1 } }

  /// The number of values that a float32 next to the largest would still show.
  var numericalRank: Int {
    guard let largest = values.first, largest > 0 else { return 0 }
    return values.count { $0 > largest * 0x1p-23 }
  }

  /// The fewest values that hold that share of the energy.
  func rank(holding share: Double) -> Int {
    let goal = energy * share
    var (sum, count) = (0.0, 0)
    for value in values where sum < goal {
      sum += value * value
      count += 1
    }
    return count
  }

  /// The best product of that rank, √σ on either side; zeros where there are fewer values.
  func product(rank: Int) throws -> LowRankProduct {
    let kept = min(rank, values.count)
    let roots = values.prefix(kept).map { $0.squareRoot() }
    var leftPart = Matrix(u.rows, kept, Array(u.values.prefix(u.rows * kept)))
    leftPart.scaleColumns(roots)
    var rightPart = Matrix(vt.columns, kept)
    for column in 0..<kept {
      for row in 0..<vt.columns { rightPart[row, column] = vt[column, row] * roots[column] }
    }
    let b = try left.applied(to: leftPart)
    let a = try right.applied(to: rightPart)
    guard kept < rank else { return LowRankProduct(rank: rank, a: a.floatColumns, b: b.floatRows) }
    let padding = rank - kept
    return LowRankProduct(
      rank: rank, a: a.floatColumns + [Float](repeating: 0, count: padding * a.rows),
      b: Matrix(b.rows, rank, b.values + [Double](repeating: 0, count: padding * b.rows)).floatRows)
  }
}
