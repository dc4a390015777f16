import LMoECore

extension RoutingColours {
  private static let textWidth = 24
  private static let nameWidth = 24

  /// The line above the list of tokens; nil where colours take the place of the list.
  var heading: String? {
    isColoured ? nil : row("token", "", "text", "strongest", "weight")
  }

  /// A line of the list.
  func line(_ number: Int, _ text: [UInt8], _ isPrompt: Bool, _ routing: TokenRouting) -> String {
    let name = routing.strongest.map { RoutingTrace.name(ofColumn: columns[$0]).printable }
    let weight = routing.strongest.map { _ in formatted(Double(routing.weight), digits: 3) }
    return row(
      "\(number)", isPrompt ? "prompt" : "", "\"" + PieceDecoder.inline(text) + "\"",
      name ?? (routing.means.isEmpty ? "" : "undecided"), weight ?? "") + "\n"
  }

  private func row(_ number: String, _ part: String, _ text: String, _ name: String, _ weight: String)
    -> String
  {
    let width = min(
      Self.nameWidth, columns.map { RoutingTrace.name(ofColumn: $0).printable.displayWidth }.max() ?? 0)
    let line =
      "  " + String(repeating: " ", count: max(0, 5 - number.displayWidth)) + number + "  "
      + part.padded(to: 6) + "  " + text.cut(to: Self.textWidth).padded(to: Self.textWidth) + "  "
      + name.cut(to: Self.nameWidth).padded(to: max(width, 9)) + "  "
      + String(repeating: " ", count: max(0, 6 - weight.displayWidth)) + weight
    return String(line.reversed().drop { $0 == " " }.reversed())
  }
}
