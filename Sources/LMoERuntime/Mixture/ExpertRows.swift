/// Which rows have which experts: for each column of a gate's weights, the rows where it is not zero.
///
/// A layer's gate serves seven linear layers, and there may be hundreds of columns: they are looked through once.
struct ExpertRows: Sendable {
  private let rows: [[Int]]

  /// Looks through the weights [T, experts].
  init(_ weights: Rows) {
    var rows = [[Int]](repeating: [], count: weights.width)
    for row in 0..<weights.count {
      for column in 0..<weights.width where weights[row, column] != 0 { rows[column].append(row) }
    }
    self.rows = rows
  }

  /// The rows that have the expert of a column.
  subscript(column: Int) -> [Int] { rows[column] }
}
