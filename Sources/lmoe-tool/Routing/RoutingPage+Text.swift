extension RoutingPage {
  /// The text, a span for each token.
  var text: String {
    var decoder = PieceDecoder()
    var html =
      "<section id=\"text\" aria-label=\"The text; arrow keys move from token to token\">\n<div id=\"tokens\">"
    for (index, token) in trace.tokens.enumerated() {
      let parts = decoder.next(token.text)
      html += open(index, isStart: isGenerationStart(index))
      for part in parts { html += Self.html(part) }
      // A token that shows nothing must still be something to point at.
      if parts.isEmpty { html += "<i class=\"empty\"></i>" }
      html += "</span>"
    }
    for part in decoder.end() { html += "<span>\(Self.html(part))</span>" }
    return html + "</div>\n</section>\n"
  }

  private func isGenerationStart(_ index: Int) -> Bool {
    index > 0 && trace.tokens[index - 1].isPrompt && !trace.tokens[index].isPrompt
  }

  private func open(_ index: Int, isStart: Bool) -> String {
    let routing = routings[index]
    var classes: [String] = []
    var style = ""
    if let strongest = routing.strongest, trace.columns.indices.contains(strongest),
      !trace.columns[strongest].isEmpty
    {
      classes.append("k\(strongest)")
      if routing.weight < 0 { classes.append("n") }
      style = " style=\"--a:\(HTMLPage.fraction(Double(routing.certainty)))\""
    }
    if trace.tokens[index].isPrompt { classes.append("p") }
    if isStart { classes.append("g") }
    if classes.isEmpty { return "<span>" }
    return "<span class=\"\(classes.joined(separator: " "))\"\(style)>"
  }

  /// A part of a token's text; marks are made by the style, so that a copy of the text has none.
  static func html(_ part: PieceText) -> String {
    switch part {
    case .text(let text): text.html
    case .newline: "<i class=\"nl\"></i>\n"
    case .tab: "<i class=\"tab\"></i>\t"
    case .control(let picture): "<i class=\"odd\">\(picture.html)</i>"
    case .byte(let byte): "<i class=\"odd\">\(PieceText.escape(byte))</i>"
    }
  }
}
