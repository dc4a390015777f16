private import CLMoEKernels
import LMoECore

/// The best low-rank approximation of a matrix that is only seen some rows at a time: a random sketch of its range,
/// sharpened by power iterations (Halko, Martinsson and Tropp, 2011).
struct RandomizedSVD {
  /// The product of the rank asked for, √σ on either side.
  let product: LowRankProduct
  /// ‖M‖²_F.
  let energy: Double
  /// ‖M − B·A‖²_F, measured.
  let residual: Double

  /// Columns of the sketch beyond the rank.
  private static let oversampling = 10
  private static let mostIterations = 8

  /// Approximates `matrix` to a rank, or to the smallest rank that holds a share of its energy.
  ///
  /// - Throws: `ExpertError` with `no-linear-algebra`.
  init(_ matrix: any MatrixRows, rank: Int, energy share: Double? = nil, seed: UInt64) throws {
    energy = matrix.squaredNorm
    let full = min(matrix.rows, matrix.columns)
    var wanted = min(rank, full)
    var found = try Sketch(matrix, width: min(wanted + Self.oversampling, full), seed: seed)
    if let share {
      // A sketch that does not hold enough is made twice as wide.
      while found.captured < share * energy, found.width < full {
        found = try Sketch(matrix, width: min(found.width * 2, full), seed: seed)
      }
      var sum = 0.0
      wanted = 0
      for value in found.values where sum < share * energy {
        sum += value * value
        wanted += 1
      }
      wanted = max(wanted, 1)
    }
    var product = try found.product(rank: min(wanted, found.values.count))
    if product.rank < rank, share == nil { product = product.padded(to: rank) }
    self.product = product
    residual = Self.residual(matrix, product)
  }

  private static func residual(_ matrix: any MatrixRows, _ product: LowRankProduct) -> Double {
    let tile = FloatBuffer(matrix.height * matrix.columns)
    let scratch = FloatBuffer(lmoe_gemm_scratch(1 << 24))
    let negative = product.b.map { -$0 }
    var sum = 0.0
    unsafe matrix.forEachTile { range, values in
      let count = range.count * matrix.columns
      unsafe tile.floats.update(from: values, count: count)
      unsafe negative.withUnsafeBufferPointer { b in
        unsafe product.a.withUnsafeBufferPointer { a in
          guard let left = b.baseAddress, let right = a.baseAddress, product.rank > 0 else { return }
          var term = unsafe lmoe_term(
            x: left + range.lowerBound * product.rank, x_stride: product.rank,
            weight: UnsafeRawPointer(right), weight_stride: matrix.columns, kind: Int32(LMOE_F32),
            is_transposed: 0, depth: product.rank, block: 0, weight_first: 0, x_integers: nil)
          unsafe lmoe_gemm(
            range.count, &term, 1, 0, matrix.columns, tile.floats, matrix.columns, 1, scratch.floats)
        }
      }
      var isFinite: Int32 = 1
      sum += unsafe lmoe_sum_squares(tile.floats, count, Int32(LMOE_F32), &isFinite)
    }
    return sum
  }

  /// The singular values and vectors of the part of a matrix that a sketch of some width catches.
  private struct Sketch {
    let width: Int
    let values: [Double]
    private let q: Matrix
    private let u: Matrix
    private let vt: Matrix

    /// The energy that it holds.
    var captured: Double { values.reduce(0) { $0 + $1 * $1 } }

    init(_ matrix: any MatrixRows, width: Int, seed: UInt64) throws {
      self.width = width
      var random = RandomSource(seed: seed)
      let start = (0..<width * matrix.columns).map { _ in Float(random.normal()) }
      var q = Self.times(matrix, start, width)
      try q.orthonormalise()
      var right = Self.transposedTimes(matrix, q)
      var energy = right.squaredNorm
      for _ in 0..<RandomizedSVD.mostIterations where width < min(matrix.rows, matrix.columns) {
        try right.orthonormalise()
        q = Self.times(matrix, right.floatColumns, width)
        try q.orthonormalise()
        right = Self.transposedTimes(matrix, q)
        let gained = right.squaredNorm - energy
        energy += gained
        if gained < 5e-4 * energy { break }
      }
      (u, values, vt) = try right.singularValues()
      self.q = q
    }

    /// M·Ωᵀ, Ω given by rows: width × columns.
    private static func times(_ matrix: any MatrixRows, _ sketch: [Float], _ width: Int) -> Matrix {
      var result = [Float](repeating: 0, count: matrix.rows * width)
      let scratch = FloatBuffer(lmoe_gemm_scratch(1 << 24))
      unsafe result.withUnsafeMutableBufferPointer { out in
        unsafe sketch.withUnsafeBufferPointer { sketch in
          guard let out = out.baseAddress, let weight = sketch.baseAddress else { return }
          unsafe matrix.forEachTile { range, values in
            var term = unsafe lmoe_term(
              x: values, x_stride: matrix.columns, weight: UnsafeRawPointer(weight),
              weight_stride: matrix.columns, kind: Int32(LMOE_F32), is_transposed: 1, depth: matrix.columns,
              block: 0, weight_first: 0, x_integers: nil)
            unsafe lmoe_gemm(
              range.count, &term, 1, 0, width, out + range.lowerBound * width, width, 0, scratch.floats)
          }
        }
      }
      return Matrix(rows: result, columns: width)
    }

    /// Mᵀ·Q: columns × width.
    private static func transposedTimes(_ matrix: any MatrixRows, _ q: Matrix) -> Matrix {
      let left = q.floatColumns
      var result = [Float](repeating: 0, count: q.columns * matrix.columns)
      let scratch = FloatBuffer(lmoe_gemm_scratch(1 << 24))
      unsafe result.withUnsafeMutableBufferPointer { out in
        unsafe left.withUnsafeBufferPointer { left in
          guard let out = out.baseAddress, let left = left.baseAddress else { return }
          unsafe matrix.forEachTile { range, values in
            var term = unsafe lmoe_term(
              x: left + range.lowerBound, x_stride: matrix.rows, weight: UnsafeRawPointer(values),
              weight_stride: matrix.columns, kind: Int32(LMOE_F32), is_transposed: 0, depth: range.count,
              block: 0, weight_first: 0, x_integers: nil)
            unsafe lmoe_gemm(
              q.columns, &term, 1, 0, matrix.columns, out, matrix.columns, 1, scratch.floats)
          }
        }
      }
      return Matrix(columns: result, count: q.columns)
    }

    func product(rank: Int) throws -> LowRankProduct {
      let roots = values.prefix(rank).map { $0.squareRoot() }
      // M ≈ Q·(Mᵀ·Q)ᵀ, and Mᵀ·Q = U·σ·Vᵀ.
      var a = Matrix(u.rows, rank, Array(u.values.prefix(u.rows * rank)))
      a.scaleColumns(roots)
      var mixing = Matrix(vt.columns, rank)
      for column in 0..<rank {
        for row in 0..<vt.columns { mixing[row, column] = vt[column, row] * roots[column] }
      }
      let b = try q.times(mixing)
      return LowRankProduct(rank: rank, a: a.floatColumns, b: b.floatRows)
    }
  }
}

extension LowRankProduct {
  /// The same product with zeros up to a rank.
  func padded(to other: Int) -> LowRankProduct {
    guard other > rank, rank > 0 else { return self }
    var wide = [Float](repeating: 0, count: rows * other)
    for row in 0..<rows {
      for place in 0..<rank { wide[row * other + place] = b[row * rank + place] }
    }
    return LowRankProduct(
      rank: other, a: a + [Float](repeating: 0, count: (other - rank) * columns), b: wide)
  }
}
