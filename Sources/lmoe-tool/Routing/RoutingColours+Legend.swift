import LMoECore

extension RoutingColours {
  private static let barWidth = 20
  private static let nameWidth = 32

  /// The experts in their colours: for what part of the tokens each is strongest, and its mean weight.
  var legend: [String] {
    guard !columns.isEmpty else { return ["  no experts take part"] }
    guard summary.tokenCount > 0 else { return ["  no gate decided anything"] }
    let names = columns.map { RoutingTrace.name(ofColumn: $0).printable.cut(to: Self.nameWidth) }
    let width = max(names.map(\.displayWidth).max() ?? 0, "undecided".displayWidth)
    var lines = names.indices.map { column in
      let codes = codes(ofColumn: column)
      let lead = summary.lead(column)
      let filled = Int((lead * Double(Self.barWidth)).rounded())
      let bar =
        styled(String(repeating: "█", count: filled), codes.filter { $0 != 4 })
        + styled(String(repeating: "·", count: Self.barWidth - filled), [2])
      return "  " + styled(names[column], codes) + names[column].padding(to: width) + "  \(bar)"
        + percent(lead) + " of tokens, mean weight " + formatted(summary.mean(column), digits: 3)
    }
    if summary.undecided > 0 {
      lines.append(
        "  " + "undecided".padded(to: width + Self.barWidth + 2) + percent(summary.undecided) + " of tokens")
    }
    if isColoured { lines.append(styled("  " + key.joined(separator: ", "), [2])) }
    return lines
  }

  /// What the styles mean, as far as there are any.
  private var key: [String] {
    let experts = columns.count { !$0.isEmpty }
    return ["bold: sure", "dim: unsure", "italic: prompt"]
      + (experts > ExpertPalette.count ? ["underlined: a colour used again"] : [])
  }

  private func percent(_ share: Double) -> String {
    let text = formatted(share * 100, digits: 0)
    return String(repeating: " ", count: max(0, 5 - text.displayWidth)) + text + " %"
  }
}

extension String {
  /// The spaces that are missing up to a width.
  fileprivate func padding(to width: Int) -> String {
    String(repeating: " ", count: max(0, width - displayWidth))
  }
}
