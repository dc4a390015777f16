private import CLAPACK

/// A matrix in double precision, column by column, as LAPACK has them.
struct Matrix: Sendable {
  let rows: Int
  let columns: Int
  var values: [Double]

  /// A matrix of zeros.
  init(_ rows: Int, _ columns: Int) {
    (self.rows, self.columns) = (rows, columns)
    values = [Double](repeating: 0, count: rows * columns)
  }

  /// The transpose of float32 values that are given by rows: their rows become the columns.
  init(columns values: [Float], count: Int) {
    columns = count
    rows = count == 0 ? 0 : values.count / count
    self.values = values.map(Double.init)
  }

  /// Float32 values that are given by rows, `columns` of them in each.
  init(rows values: [Float], columns: Int) {
    let rows = columns == 0 ? 0 : values.count / columns
    (self.rows, self.columns) = (rows, columns)
    self.values = unsafe [Double](unsafeUninitializedCapacity: rows * columns) { out, count in
      for column in 0..<columns {
        for row in 0..<rows { unsafe out[column * rows + row] = Double(values[row * columns + column]) }
      }
      count = rows * columns
    }
  }

  subscript(row: Int, column: Int) -> Double {
    get { values[column * rows + row] }
    set { values[column * rows + row] = newValue }
  }

  /// One of the columns.
  func column(_ index: Int) -> ArraySlice<Double> { values[index * rows..<(index + 1) * rows] }

  /// The columns with these numbers.
  func selecting(columns indices: [Int]) -> Matrix {
    var result = Matrix(rows, 0, [])
    result.values.reserveCapacity(indices.count * rows)
    for index in indices { result.values += column(index) }
    return Matrix(rows, indices.count, result.values)
  }

  init(_ rows: Int, _ columns: Int, _ values: [Double]) {
    (self.rows, self.columns, self.values) = (rows, columns, values)
  }

  /// Multiplies each column by a number.
  mutating func scaleColumns(_ factors: some Collection<Double>) {
    for (column, factor) in factors.enumerated() where factor != 1 {
      for index in column * rows..<(column + 1) * rows { values[index] *= factor }
    }
  }

  /// The sum of the squares of all elements.
  var squaredNorm: Double { values.reduce(0) { $0 + $1 * $1 } }

  /// The Euclidean norm of each column.
  var columnNorms: [Double] {
    (0..<columns).map { column($0).reduce(0) { $0 + $1 * $1 }.squareRoot() }
  }
}

extension Matrix {
  /// op(self) · op(other), op the transpose where asked.
  func times(
    _ other: Matrix, transposingSelf: Bool = false, transposingOther: Bool = false
  ) throws -> Matrix {
    try LinearAlgebra.require()
    let (m, k) = transposingSelf ? (columns, rows) : (rows, columns)
    let n = transposingOther ? other.rows : other.columns
    precondition(k == (transposingOther ? other.columns : other.rows), "shapes that do not go together")
    var result = Matrix(m, n)
    guard m > 0, n > 0, k > 0 else { return result }
    unsafe clapack_gemm(
      transposingSelf ? 1 : 0, transposingOther ? 1 : 0, Int32(m), Int32(n), Int32(k), 1, values, Int32(rows),
      other.values, Int32(other.rows), 0, &result.values, Int32(m))
    return result
  }

  /// selfᵀ · self.
  func gram() throws -> Matrix {
    try LinearAlgebra.require()
    var result = Matrix(columns, columns)
    guard columns > 0, rows > 0 else { return result }
    unsafe clapack_gram(Int32(columns), Int32(rows), values, Int32(rows), &result.values, Int32(columns))
    for column in 0..<columns {
      for row in 0..<column { result[column, row] = result[row, column] }
    }
    return result
  }

  /// The singular value decomposition: self = u · diag(values) · vᵀ, with min(rows, columns) values in falling
  /// order.
  func singularValues() throws -> (u: Matrix, values: [Double], vt: Matrix) {
    try LinearAlgebra.require()
    let least = min(rows, columns)
    var (copy, u, vt) = (values, Matrix(rows, least), Matrix(least, columns))
    var found = [Double](repeating: 0, count: least)
    guard least > 0 else { return (u, found, vt) }
    let failure = unsafe clapack_svd(
      Int32(rows), Int32(columns), &copy, Int32(rows), &found, &u.values, Int32(rows), &vt.values,
      Int32(least))
    guard failure == 0 else {
      throw ExpertError(.linearAlgebra, path: "", found: "the singular values did not converge (\(failure))")
    }
    return (u, found, vt)
  }

  /// Replaces the columns by an orthonormal basis of the space that they span.
  mutating func orthonormalise() throws {
    try LinearAlgebra.require()
    precondition(columns <= rows, "more columns than rows")
    guard columns > 0 else { return }
    let failure = unsafe clapack_orthonormalise(Int32(rows), Int32(columns), &values, Int32(rows))
    guard failure == 0 else {
      throw ExpertError(.linearAlgebra, path: "", found: "the factorisation failed (\(failure))")
    }
  }

  /// All elements as float32, by rows.
  var floatRows: [Float] {
    unsafe [Float](unsafeUninitializedCapacity: values.count) { out, count in
      for row in 0..<rows {
        for column in 0..<columns { unsafe out[row * columns + column] = Float(values[column * rows + row]) }
      }
      count = values.count
    }
  }

  /// All elements of the transpose as float32, by rows.
  var floatColumns: [Float] { values.map { Float($0) } }
}

/// The linear algebra library of the system.
enum LinearAlgebra {
  /// Loads it.
  ///
  /// - Throws: `ExpertError` with `no-linear-algebra` if there is none.
  static func require() throws {
    guard clapack_load() == 0 else { throw ExpertError(.noLinearAlgebra, path: "") }
  }
}
