/// Rows of an embedding or head that an expert has trained anew.
struct RowOverlay: Sendable {
  /// The rows.
  let indices: [Int]
  /// What each gains: the new row less the old one.
  let differences: Weight

  /// Adds differences·x to the outputs [T, rows of the weight] that are in `columns`.
  func apply(_ x: Rows, to output: Rows, columns: Range<Int>) {
    for (place, index) in indices.enumerated() where columns.contains(index) {
      let difference = differences[place..<place + 1].floats
      for row in 0..<x.count {
        let values = unsafe x.row(row)
        var sum = 0.0
        for column in 0..<x.width { unsafe sum += Double(values[column]) * Double(difference[column]) }
        output[row, index] += Float(sum)
      }
    }
  }
}
