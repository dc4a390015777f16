import LMoECore

/// KnOTS: the deltas side by side have one singular basis, [δ₁ | … | δ_E] = U·Σ·[V₁ | … | V_E]; what is merged are the
/// parts Σ·Vᵢ, and the result is U times that (https://arxiv.org/abs/2410.19735, in factor space).
enum Knots {
  /// Merges the deltas of a module; the rank is that of the basis.
  ///
  /// - Throws: `ExpertError` with `no-linear-algebra`.
  static func merge(_ module: LoadedModule, weights: [Double], by method: MergeMethod) throws
    -> LowRankProduct
  {
    let sum = module.sum(weights.map { _ in 1 })
    let left = try ColumnBasis(Matrix(rows: sum.stackedB, columns: sum.rank))
    let bases = try module.terms.map {
      try ColumnBasis(Matrix(columns: $0.product.a, count: $0.product.rank))
    }
    // R_B · blockdiag(sᵢ·R_Aᵢᵀ), one block of columns an expert.
    var core = Matrix(left.rank, 0)
    var values: [Double] = []
    var start = 0
    for (term, basis) in zip(module.terms, bases) {
      let rank = term.product.rank
      var block = left.coordinates.selecting(columns: Array(start..<start + rank))
      block.scaleColumns(Array(repeating: term.scaling, count: rank))
      values += try block.times(basis.coordinates, transposingOther: true).values
      start += rank
    }
    core = Matrix(left.rank, bases.reduce(0) { $0 + $1.rank }, values)
    let (u, sigma, vt) = try core.singularValues()
    let kept = max(1, sigma.count { $0 > (sigma.first ?? 0) * 0x1p-23 })
    guard kept <= sigma.count else {
      return LowRankProduct(
        rank: 1, a: [Float](repeating: 0, count: module.columns), b: [Float](repeating: 0, count: module.rows)
      )
    }
    // Σ·Vᵢ in the space of the weight's columns: kept × columns.
    var parts: [any MatrixRows] = []
    var place = 0
    for basis in bases {
      var coefficients = Matrix(basis.rank, kept)
      for row in 0..<basis.rank {
        for column in 0..<kept { coefficients[row, column] = vt[column, place + row] * sigma[column] }
      }
      let part = try basis.applied(to: coefficients)
      parts.append(FloatRows(part.floatColumns, columns: module.columns))
      place += basis.rank
    }
    let merged = ElementwiseRows.merging(
      parts, weights: weights, keys: weights.map { _ in 0 }, by: method)
    let b = try left.applied(to: Matrix(u.rows, kept, Array(u.values.prefix(u.rows * kept))))
    return LowRankProduct(rank: kept, a: merged.floats, b: b.floatRows)
  }
}

/// Values in memory, given by rows.
final class FloatRows: MatrixRows {
  let rows: Int
  let columns: Int
  private let buffer: FloatBuffer

  init(_ values: [Float], columns: Int) {
    self.columns = columns
    rows = columns == 0 ? 0 : values.count / columns
    buffer = FloatBuffer(values.count)
    for (index, value) in values.enumerated() { unsafe buffer.floats[index] = value }
  }

  @unsafe func values(of range: Range<Int>) -> UnsafeMutablePointer<Float> {
    unsafe buffer.floats + range.lowerBound * columns
  }
}

extension MatrixRows {
  /// All values by rows.
  var floats: [Float] {
    var result: [Float] = []
    result.reserveCapacity(rows * columns)
    unsafe forEachTile { range, values in
      unsafe result.append(contentsOf: UnsafeBufferPointer(start: values, count: range.count * columns))
    }
    return result
  }
}
