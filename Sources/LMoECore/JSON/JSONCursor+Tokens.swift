/// The bytes below the values: white space, punctuation, strings and their escapes.
extension JSONCursor {
  mutating func begin(_ byte: UInt8, _ what: String, _ level: Level) throws(JSONError) {
    skipWhitespace()
    if levels.count >= maximumDepth { throw JSONError(.tooDeep(maximumDepth), at: position) }
    try expect(byte, what)
    levels.append(level)
  }

  mutating func advance(closing: UInt8) throws(JSONError) -> Bool {
    skipWhitespace()
    let isFirst = levels[levels.count - 1].isFirst
    levels[levels.count - 1].isFirst = false
    if try peek() == closing {
      position += 1
      levels.removeLast()
      return false
    }
    if !isFirst { try expect(UInt8(ascii: ","), "','") }
    return true
  }

  func peek() throws(JSONError) -> UInt8 {
    guard position < bytes.count else { throw JSONError(.unexpectedEnd, at: position) }
    return bytes[position]
  }

  mutating func skip(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  mutating func expect(_ byte: UInt8, _ what: String) throws(JSONError) {
    guard try peek() == byte else { throw JSONError(.expected(what), at: position) }
    position += 1
  }

  mutating func word(_ text: String) throws(JSONError) {
    for byte in text.utf8 { try expect(byte, text) }
  }

  /// Moves to the next byte of a string that means something.
  ///
  /// Most of a model's JSON is plain text.
  mutating func skipPlainText() {
    position = unsafe bytes.withUnsafeBufferPointer { buffer in
      var index = position
      while index < buffer.count {
        let byte = unsafe buffer[index]
        if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte < 0x20 { break }
        index += 1
      }
      return index
    }
  }

  mutating func skipWhitespace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      default: return
      }
    }
  }

  func text(_ utf8: ArraySlice<UInt8>, at start: Int) throws(JSONError) -> String {
    guard let text = String(validating: utf8, as: UTF8.self) else {
      throw JSONError(.invalidUTF8, at: start)
    }
    return text
  }

  mutating func escapedString(from start: Int) throws(JSONError) -> String {
    var unescaped: [UInt8] = []
    try appendEscaped(from: start, to: &unescaped)
    return try text(unescaped[...], at: start)
  }

  /// Appends a string that has escapes, of which the text from `start` up to here has been read.
  mutating func appendEscaped(from start: Int, to output: inout [UInt8]) throws(JSONError) {
    output.append(contentsOf: bytes[start..<position])
    while true {
      let byte = try peek()
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return
      case 0..<0x20: throw JSONError(.invalidString, at: position - 1)
      case UInt8(ascii: "\\"):
        let escape = try peek()
        position += 1
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): output.append(escape)
        case UInt8(ascii: "b"): output.append(0x08)
        case UInt8(ascii: "f"): output.append(0x0C)
        case UInt8(ascii: "n"): output.append(0x0A)
        case UInt8(ascii: "r"): output.append(0x0D)
        case UInt8(ascii: "t"): output.append(0x09)
        case UInt8(ascii: "u"): output.append(contentsOf: try unicodeEscape().utf8)
        default: throw JSONError(.invalidString, at: position - 1)
        }
      default: output.append(byte)
      }
    }
  }

  mutating func unicodeEscape() throws(JSONError) -> Unicode.Scalar {
    let start = position - 2
    var value = try fourDigits()
    if (0xD800...0xDBFF).contains(value) {
      guard skip(UInt8(ascii: "\\")), skip(UInt8(ascii: "u")) else {
        throw JSONError(.invalidString, at: start)
      }
      let low = try fourDigits()
      guard (0xDC00...0xDFFF).contains(low) else { throw JSONError(.invalidString, at: start) }
      value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
    }
    guard let scalar = Unicode.Scalar(value) else { throw JSONError(.invalidString, at: start) }
    return scalar
  }

  mutating func fourDigits() throws(JSONError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      let digit = try peek()
      let nibble: UInt8
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = digit - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = digit - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): nibble = digit - UInt8(ascii: "A") + 10
      default: throw JSONError(.invalidString, at: position)
      }
      value = value << 4 | UInt32(nibble)
      position += 1
    }
    return value
  }
}
