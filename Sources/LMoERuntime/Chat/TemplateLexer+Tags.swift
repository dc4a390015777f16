/// What stands inside a tag.
extension TemplateLexer {
  /// Reads to the end of a tag: `%}` or `}}`.
  mutating func tag(closing: Unicode.Scalar) throws(TemplateError) {
    var open: [Unicode.Scalar] = []
    while position < scalars.count {
      if open.isEmpty, try end(closing) { return }
      let scalar = scalars[position]
      if scalar.isTemplateSpace {
        move(to: position + 1)
      } else if scalar.isTemplateDigit {
        try number()
      } else if scalar.isTemplateWord {
        try name()
      } else if scalar == "'" || scalar == "\"" {
        try string(quote: scalar)
      } else {
        try symbol(&open)
      }
    }
    throw error(found: "the end of the template", expected: closing == "%" ? "\"%}\"" : "\"}}\"")
  }

  private mutating func end(_ closing: Unicode.Scalar) throws(TemplateError) -> Bool {
    let mark = closing == "%" ? "%}" : "}}"
    let sign = scalars[position]
    let hasSign = (sign == "-" || sign == "+" && closing == "%") && matches(mark, at: position + 1)
    guard hasSign || matches(mark, at: position) else { return false }
    tokens.append(TemplateToken(kind: closing == "%" ? .blockEnd : .printEnd, line: line))
    move(to: position + (hasSign ? 3 : 2))
    close(trims: hasSign && sign == "-", keeps: hasSign && sign == "+" || closing != "%")
    return true
  }

  private mutating func name() throws(TemplateError) {
    let start = position
    while position < scalars.count, scalars[position].isTemplateWord { position += 1 }
    var text = ""
    text.unicodeScalars.append(contentsOf: scalars[start..<position])
    tokens.append(TemplateToken(kind: .name(text), line: line))
  }

  private mutating func number() throws(TemplateError) {
    let start = position
    digits()
    var isDouble = false
    let followsDot = start > 0 && scalars[start - 1] == "."
    if !followsDot, position + 1 < scalars.count, scalars[position] == ".",
      scalars[position + 1].isTemplateDigit
    {
      isDouble = true
      position += 1
      digits()
    }
    if !followsDot, position + 1 < scalars.count, ["e", "E"].contains(scalars[position]) {
      let signed = scalars[position + 1] == "-" || scalars[position + 1] == "+"
      let first = position + (signed ? 2 : 1)
      if first < scalars.count, scalars[first].isTemplateDigit {
        isDouble = true
        position = first
        digits()
      }
    }
    var text = ""
    text.unicodeScalars.append(contentsOf: scalars[start..<position].filter { $0 != "_" })
    if isDouble, let value = Double(text) {
      tokens.append(TemplateToken(kind: .double(value), line: line))
    } else if let value = Int(text) {
      tokens.append(TemplateToken(kind: .integer(value), line: line))
    } else {
      throw TemplateError(.overflow, path: path, line: line, name: text)
    }
  }

  private mutating func digits() {
    while position < scalars.count,
      scalars[position].isTemplateDigit
        || scalars[position] == "_" && position + 1 < scalars.count
          && scalars[position + 1].isTemplateDigit
    { position += 1 }
  }

  private mutating func symbol(_ open: inout [Unicode.Scalar]) throws(TemplateError) {
    for pair in ["//", "**", "==", "!=", ">=", "<="] where matches(pair, at: position) {
      tokens.append(TemplateToken(kind: .symbol(pair), line: line))
      position += 2
      return
    }
    let scalar = scalars[position]
    switch scalar {
    case "(": open.append(")")
    case "[": open.append("]")
    case "{": open.append("}")
    case ")", "]", "}":
      guard open.popLast() == scalar else {
        throw error(found: "\"\(scalar)\"", expected: "the bracket that was opened")
      }
    case "+", "-", "/", "*", "%", "~", ">", "<", "=", ".", ":", "|", ",", ";": break
    default: throw error(found: "\"\(scalar)\"", expected: "an expression")
    }
    tokens.append(TemplateToken(kind: .symbol(String(scalar)), line: line))
    position += 1
  }

  private mutating func string(quote: Unicode.Scalar) throws(TemplateError) {
    let first = line
    move(to: position + 1)
    var text = String.UnicodeScalarView()
    while position < scalars.count {
      let scalar = scalars[position]
      move(to: position + 1)
      if scalar == quote {
        tokens.append(TemplateToken(kind: .string(String(text)), line: first))
        return
      }
      if scalar == "\\" { try escape(into: &text) } else { text.append(scalar) }
    }
    throw error(found: "an open string", expected: "a quotation mark")
  }

  /// The escapes of Python; what is none stays as it is.
  private mutating func escape(into text: inout String.UnicodeScalarView) throws(TemplateError) {
    guard position < scalars.count else { return }
    let scalar = scalars[position]
    move(to: position + 1)
    switch scalar {
    case "\n": break
    case "\\", "'", "\"": text.append(scalar)
    case "a": text.append("\u{7}")
    case "b": text.append("\u{8}")
    case "f": text.append("\u{C}")
    case "n": text.append("\n")
    case "r": text.append("\r")
    case "t": text.append("\t")
    case "v": text.append("\u{B}")
    case "x": text.append(try codePoint(digits: 2))
    case "u": text.append(try codePoint(digits: 4))
    case "U": text.append(try codePoint(digits: 8))
    case "N": throw error(found: "a character by its name", expected: "its number")
    case "0"..."7":
      var value = scalar.value - 0x30
      var count = 1
      while count < 3, position < scalars.count, ("0"..."7").contains(scalars[position]) {
        value = value * 8 + scalars[position].value - 0x30
        position += 1
        count += 1
      }
      if let octal = Unicode.Scalar(value) { text.append(octal) }
    default:
      text.append("\\")
      text.append(scalar)
    }
  }

  private mutating func codePoint(digits: Int) throws(TemplateError) -> Unicode.Scalar {
    var value: UInt32 = 0
    for _ in 0..<digits {
      guard position < scalars.count, scalars[position].isASCII,
        let digit = Character(scalars[position]).hexDigitValue
      else { throw error(found: "an escape with too few digits", expected: "\(digits) of them") }
      value = value &* 16 | UInt32(digit)
      position += 1
    }
    guard let scalar = Unicode.Scalar(value) else {
      throw error(found: "an escape that is no character", expected: "a Unicode scalar")
    }
    return scalar
  }
}
