import LMoECore

/// Rows of text in aligned columns.
///
/// Control characters in cells are shown, not obeyed.
struct Table {
  /// How a column is aligned.
  enum Alignment { case left, right }

  /// No column becomes narrower than this.
  private static let narrowest = 8

  private let header: [String]
  private let alignments: [Alignment]
  private var rows: [[String]] = []

  init(_ columns: [(title: String, alignment: Alignment)]) {
    header = columns.map(\.title)
    alignments = columns.map(\.alignment)
  }

  mutating func add(_ cells: [String]) { rows.append(cells.map(\.printable)) }

  /// The lines, the header first, indented by two spaces; cut to the width of the terminal at the widest texts.
  var lines: [String] {
    var widths = header.indices.map { column in
      ([header] + rows).map { $0[column].displayWidth }.max() ?? 0
    }
    var excess = widths.reduce(0) { $0 + $1 + 2 } - Terminal.width
    while excess > 0,
      let widest = widths.indices.filter({ alignments[$0] == .left }).max(by: { widths[$0] < widths[$1] }),
      widths[widest] > Self.narrowest
    {
      widths[widest] -= 1
      excess -= 1
    }
    func line(_ cells: [String]) -> String {
      var text = " "
      for (column, cell) in cells.enumerated() {
        let cell = cell.cut(to: widths[column])
        let padding = String(repeating: " ", count: max(0, widths[column] - cell.displayWidth))
        text += " " + (alignments[column] == .right ? padding + cell : cell + padding)
        if column < cells.count - 1 { text += " " }
      }
      while text.hasSuffix(" ") { text.removeLast() }
      return text
    }
    return [Terminal.dim(line(header))] + rows.map(line)
  }
}
