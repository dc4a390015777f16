/// Cuts a template into tokens, as Jinja does with `trim_blocks` and `lstrip_blocks`.
///
/// White space is removed here: a `-` takes all of it, a tag alone on a line its indentation, the end of a
/// block or comment the newline behind it.
struct TemplateLexer {
  let scalars: [Unicode.Scalar]
  let path: String
  var position = 0
  var line = 1
  var tokens: [TemplateToken] = []
  /// Whether what was read last ended in a newline.
  var startsLine = true

  /// The tokens of `source`.
  static func tokens(of source: String, path: String) throws(TemplateError) -> [TemplateToken] {
    var lexer = TemplateLexer(scalars: normalized(source), path: path)
    while lexer.position < lexer.scalars.count { try lexer.part() }
    lexer.tokens.append(TemplateToken(kind: .end, line: lexer.line))
    return lexer.tokens
  }

  private init(scalars: [Unicode.Scalar], path: String) {
    self.scalars = scalars
    self.path = path
  }

  /// One kind of newline, and none at the end.
  static func normalized(_ source: String) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    result.reserveCapacity(source.utf8.count)
    var afterReturn = false
    for scalar in source.unicodeScalars {
      if scalar == "\r" {
        result.append("\n")
      } else if !(scalar == "\n" && afterReturn) {
        result.append(scalar)
      }
      afterReturn = scalar == "\r"
    }
    if result.last == "\n" { result.removeLast() }
    return result
  }

  /// Text up to the next tag, and that tag.
  private mutating func part() throws(TemplateError) {
    let start = position
    var opening = start
    while opening < scalars.count {
      if scalars[opening] == "{", opening + 1 < scalars.count,
        ["{", "%", "#"].contains(scalars[opening + 1])
      {
        break
      }
      opening += 1
    }
    guard opening < scalars.count else {
      emit(data: scalars[start...], line: line)
      move(to: opening)
      return
    }
    let kind = scalars[opening + 1]
    let text = stripped(scalars[start..<opening], before: opening + 2, isPrint: kind == "{")
    emit(data: text, line: line)
    move(to: opening)
    let hasSign = opening + 2 < scalars.count && ["-", "+"].contains(scalars[opening + 2])
    switch kind {
    case "#":
      move(to: opening + (hasSign ? 3 : 2))
      try comment()
    case "%":
      if let body = rawBody(from: opening + (hasSign ? 3 : 2)) {
        move(to: body)
        try raw()
      } else {
        tokens.append(TemplateToken(kind: .blockBegin, line: line))
        move(to: opening + (hasSign ? 3 : 2))
        try tag(closing: "%")
      }
    default:
      tokens.append(TemplateToken(kind: .printBegin, line: line))
      move(to: opening + (hasSign ? 3 : 2))
      try tag(closing: "}")
    }
  }

  /// Text without the white space that the tag behind it takes away.
  private func stripped(
    _ text: ArraySlice<Unicode.Scalar>, before sign: Int, isPrint: Bool
  ) -> ArraySlice<Unicode.Scalar> {
    let sign = sign < scalars.count ? scalars[sign] : " "
    var end = text.endIndex
    if sign == "-" {
      while end > text.startIndex, scalars[end - 1].isTemplateSpace { end -= 1 }
      return text[..<end]
    }
    guard sign != "+", !isPrint else { return text }
    while end > text.startIndex, scalars[end - 1] != "\n" {
      guard scalars[end - 1].isTemplateSpace else { return text }
      end -= 1
    }
    return end > text.startIndex || startsLine ? text[..<end] : text
  }

  private mutating func emit(data: ArraySlice<Unicode.Scalar>, line: Int) {
    guard !data.isEmpty else { return }
    var text = ""
    text.unicodeScalars.append(contentsOf: data)
    tokens.append(TemplateToken(kind: .data(text), line: line))
  }

  private mutating func comment() throws(TemplateError) {
    while position + 1 < scalars.count {
      if scalars[position] == "#", scalars[position + 1] == "}" {
        let trims = scalars[position - 1] == "-"
        let keeps = scalars[position - 1] == "+"
        move(to: position + 2)
        close(trims: trims, keeps: keeps)
        return
      }
      move(to: position + 1)
    }
    throw error(found: "an open comment", expected: "\"#}\"")
  }

  /// Where the body of a `raw` block begins, if this is one.
  private func rawBody(from start: Int) -> Int? {
    guard var index = word("raw", from: start) else { return nil }
    let trims = index < scalars.count && scalars[index] == "-"
    if trims { index += 1 }
    guard matches("%}", at: index) else { return nil }
    index += 2
    while trims, index < scalars.count, scalars[index].isTemplateSpace { index += 1 }
    return index
  }

  private mutating func raw() throws(TemplateError) {
    let start = position
    var index = start
    while index < scalars.count {
      if matches("{%", at: index) {
        let hasSign = index + 2 < scalars.count && ["-", "+"].contains(scalars[index + 2])
        if var end = word("endraw", from: index + (hasSign ? 3 : 2)), end < scalars.count {
          let sign = scalars[end]
          if sign == "-" || sign == "+" { end += 1 }
          if matches("%}", at: end) {
            emit(data: stripped(scalars[start..<index], before: index + 2, isPrint: false), line: line)
            move(to: end + 2)
            close(trims: sign == "-", keeps: sign == "+")
            return
          }
        }
      }
      index += 1
    }
    throw error(found: "an open raw block", expected: "\"{% endraw %}\"")
  }

  /// The place behind a word with white space around it.
  private func word(_ text: String, from start: Int) -> Int? {
    var index = start
    while index < scalars.count, scalars[index].isTemplateSpace { index += 1 }
    guard matches(text, at: index) else { return nil }
    index += text.unicodeScalars.count
    while index < scalars.count, scalars[index].isTemplateSpace { index += 1 }
    return index
  }

  /// What follows the end of a block or comment.
  mutating func close(trims: Bool, keeps: Bool) {
    if trims {
      while position < scalars.count, scalars[position].isTemplateSpace { move(to: position + 1) }
    } else if !keeps, position < scalars.count, scalars[position] == "\n" {
      move(to: position + 1)
    }
    startsLine = position > 0 && scalars[position - 1] == "\n"
  }

  func matches(_ text: String, at index: Int) -> Bool {
    var index = index
    for scalar in text.unicodeScalars {
      guard index < scalars.count, scalars[index] == scalar else { return false }
      index += 1
    }
    return true
  }

  mutating func move(to end: Int) {
    while position < end, position < scalars.count {
      if scalars[position] == "\n" { line += 1 }
      position += 1
    }
  }

  func error(found: String, expected: String) -> TemplateError {
    TemplateError(.syntax, path: path, line: line, expected: expected, found: found)
  }
}
