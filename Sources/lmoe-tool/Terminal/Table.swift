import LMoECore

/// Rows of text in aligned columns.
///
/// Control characters in cells are shown, not obeyed.
struct Table {
  /// How a column is aligned.
  enum Alignment { case left, right }

  /// No column becomes narrower than this.
  private static let narrowest = 8

  /// Whether it is a list of many names, which is left alone in a pipe and shows the ends of its names.
  private let isList: Bool
  private let header: [String]
  private let alignments: [Alignment]
  private var rows: [[String]] = []

  init(_ columns: [(title: String, alignment: Alignment)], isList: Bool = false) {
    self.isList = isList
    header = columns.map(\.title)
    alignments = columns.map(\.alignment)
  }

  mutating func add(_ cells: [String]) { rows.append(cells.map(\.printable)) }

  /// The lines, the header first, indented by two spaces; cut to the width of the terminal at the widest texts.
  var lines: [String] {
    var widths = header.indices.map { column in
      ([header] + rows).map { $0[column].displayWidth }.max() ?? 0
    }
    // A list that goes into a pipe is searched, not looked at.
    let room = isList && !Terminal.isLookedAt ? Int.max : Terminal.width
    var excess = widths.reduce(0) { $0 + $1 + 2 } - room
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
        // The names of a list begin alike.
        let cell = isList ? cell.cutAtStart(to: widths[column]) : cell.cut(to: widths[column])
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
