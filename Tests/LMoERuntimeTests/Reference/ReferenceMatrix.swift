/// A matrix in double precision, row by row.
struct ReferenceMatrix: Equatable, Sendable {
  let rows: Int
  let columns: Int
  var values: [Double]

  init(_ rows: Int, _ columns: Int, _ values: [Double]) {
    precondition(values.count == rows * columns, "\(values.count) values are not \(rows) × \(columns)")
    (self.rows, self.columns, self.values) = (rows, columns, values)
  }

  init(_ rows: Int, _ columns: Int, repeating value: Double = 0) {
    self.init(rows, columns, [Double](repeating: value, count: rows * columns))
  }

  /// One row.
  init(row values: [Double]) { self.init(1, values.count, values) }

  /// One column.
  init(column values: [Double]) { self.init(values.count, 1, values) }

  subscript(row: Int, column: Int) -> Double {
    get { values[row * columns + column] }
    set { values[row * columns + column] = newValue }
  }

  func row(_ index: Int) -> [Double] { Array(values[index * columns..<(index + 1) * columns]) }

  func column(_ index: Int) -> [Double] { (0..<rows).map { self[$0, index] } }

  func map(_ change: (Double) -> Double) -> ReferenceMatrix {
    ReferenceMatrix(rows, columns, values.map(change))
  }

  /// Element by element with another of the same shape, or with one row or one column that is repeated.
  func combined(
    with other: ReferenceMatrix, _ operation: (Double, Double) -> Double
  ) -> ReferenceMatrix {
    precondition(
      (other.rows == rows || other.rows == 1) && (other.columns == columns || other.columns == 1))
    if rows == other.rows, columns == other.columns {
      return ReferenceMatrix(rows, columns, zip(values, other.values).map(operation))
    }
    var result = self
    for row in 0..<rows {
      for column in 0..<columns {
        result[row, column] = operation(
          self[row, column], other[other.rows == 1 ? 0 : row, other.columns == 1 ? 0 : column])
      }
    }
    return result
  }

  /// Summed over what `combined` repeats of a matrix of that shape.
  func summed(to rows: Int, _ columns: Int) -> ReferenceMatrix {
    if rows == self.rows, columns == self.columns { return self }
    var result = ReferenceMatrix(rows, columns)
    for row in 0..<self.rows {
      for column in 0..<self.columns {
        result[rows == 1 ? 0 : row, columns == 1 ? 0 : column] += self[row, column]
      }
    }
    return result
  }

  var transposed: ReferenceMatrix {
    var result = ReferenceMatrix(columns, rows)
    for row in 0..<rows { for column in 0..<columns { result[column, row] = self[row, column] } }
    return result
  }

  /// The matrix product.
  func times(_ other: ReferenceMatrix) -> ReferenceMatrix {
    precondition(columns == other.rows, "[\(rows), \(columns)] times [\(other.rows), \(other.columns)]")
    var result: [Double] = []
    result.reserveCapacity(rows * other.columns)
    for row in 0..<rows {
      for column in 0..<other.columns {
        var sum = 0.0
        for inner in 0..<columns { sum += self[row, inner] * other[inner, column] }
        result.append(sum)
      }
    }
    return ReferenceMatrix(rows, other.columns, result)
  }

  /// ‖·‖ of each row.
  var rowNorms: [Double] {
    (0..<rows).map { row in self.row(row).reduce(0) { $0 + $1 * $1 }.squareRoot() }
  }
}
