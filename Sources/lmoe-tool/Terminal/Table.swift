import LMoECore

/// Rows of text in aligned columns.
///
/// Control characters in cells are shown, not obeyed.
struct Table {
  /// How a column is aligned.
  enum Alignment { case left, right }

  private let header: [String]
  private let alignments: [Alignment]
  private var rows: [[String]] = []

  init(_ columns: [(title: String, alignment: Alignment)]) {
    header = columns.map(\.title)
    alignments = columns.map(\.alignment)
  }

  mutating func add(_ cells: [String]) { rows.append(cells.map(\.printable)) }

  /// The lines, the header first, indented by two spaces.
  var lines: [String] {
    let widths = header.indices.map { column in
      ([header] + rows).map { $0[column].count }.max() ?? 0
    }
    func line(_ cells: [String]) -> String {
      var text = " "
      for (column, cell) in cells.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        text += " " + (alignments[column] == .right ? padding + cell : cell + padding)
        if column < cells.count - 1 { text += " " }
      }
      while text.hasSuffix(" ") { text.removeLast() }
      return text
    }
    return [Terminal.dim(line(header))] + rows.map(line)
  }
}
