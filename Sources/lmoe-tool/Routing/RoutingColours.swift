/// Shows a text in a terminal as it is made, each token in the colour of its strongest expert.
///
/// Bold where the gates are sure, dim where they hardly are; the prompt in italics. Without colours, a list with
/// a line for each token.
struct RoutingColours {
  /// The experts' names; "" for the null expert.
  let columns: [String]
  /// Whether to use colours.
  let isColoured: Bool
  /// The weights so far.
  private(set) var summary: RoutingSummary
  private let colours: [Int?]
  private var decoder = PieceDecoder()
  private var count = 0

  /// Makes one for experts of these names.
  init(columns: [String], isColoured: Bool = Terminal.hasColor) {
    (self.columns, self.isColoured) = (columns, isColoured)
    colours = ExpertPalette.numbers(of: columns)
    summary = RoutingSummary(width: columns.count)
  }

  /// The next token, as it is to be written: with colours a piece of text, without them a line.
  ///
  /// - Parameters:
  ///   - text: The bytes of its piece.
  ///   - isPrompt: Whether it was given.
  ///   - weights: Its weights by place and column; none if there are none.
  mutating func token(_ text: [UInt8], isPrompt: Bool, weights: [[Float]]) -> String {
    let routing = TokenRouting(weights)
    summary.add(routing)
    count += 1
    guard isColoured else { return line(count, text, isPrompt, routing) }
    return styled(decoder.next(text), codes(routing) + (isPrompt ? [3] : []))
  }

  /// What is held back when the text ends: the beginning of a character without its end.
  mutating func end() -> String { isColoured ? styled(decoder.end(), []) : "" }

  /// What a colour or style is switched on with: `38;5;33`.
  func codes(ofColumn column: Int) -> [Int] {
    guard colours.indices.contains(column), let colour = colours[column] else { return [] }
    let codes = [38, 5, ExpertPalette.terminal[colour % ExpertPalette.count]]
    return colour < ExpertPalette.count ? codes : codes + [4]
  }

  /// `text` in a style.
  func styled(_ text: String, _ codes: [Int]) -> String {
    guard isColoured, !codes.isEmpty, !text.isEmpty else { return text }
    return "\u{1B}[" + codes.map { "\($0)" }.joined(separator: ";") + "m\(text)\u{1B}[0m"
  }

  private func codes(_ routing: TokenRouting) -> [Int] {
    guard let strongest = routing.strongest else { return [] }
    let codes = codes(ofColumn: strongest)
    if codes.isEmpty { return [] }
    return codes + (routing.certainty < 1 / 3 ? [2] : routing.certainty > 2 / 3 ? [1] : [])
  }

  private func styled(_ parts: [PieceText], _ codes: [Int]) -> String {
    parts.map { part in
      switch part {
      case .newline: "\n"
      case .tab: "\t"
      case .byte: styled("\u{FFFD}", codes)
      case .text(let text), .control(let text): styled(text, codes)
      }
    }.joined()
  }
}
