/// Strings as bytes, for files with hundreds of thousands of them.
///
/// They are not checked to be UTF-8: a caller checks the whole text at once, and what stands between two
/// quotation marks of valid text is valid.
extension JSONCursor {
  /// Reads a string and appends its bytes.
  public mutating func string(appendingTo output: inout [UInt8]) throws(JSONError) {
    skipWhitespace()
    try expect(UInt8(ascii: "\""), "a string")
    let start = position
    skipPlainText()
    guard position < bytes.count else { throw JSONError(.unexpectedEnd, at: position) }
    switch bytes[position] {
    case UInt8(ascii: "\""):
      output.append(contentsOf: bytes[start..<position])
      position += 1
    case UInt8(ascii: "\\"): try appendEscaped(from: start, to: &output)
    default: throw JSONError(.invalidString, at: position)
    }
  }

  /// Reads the next key of an object whose keys the caller checks, its colon passed, and appends its bytes;
  /// false at the end, the object left.
  public mutating func nextKey(appendingTo output: inout [UInt8]) throws(JSONError) -> Bool {
    guard try advance(closing: UInt8(ascii: "}")) else { return false }
    try string(appendingTo: &output)
    skipWhitespace()
    try expect(UInt8(ascii: ":"), "':'")
    return true
  }

  /// Reads a number that is not negative and written as an integer; nil for any other number.
  public mutating func index() throws(JSONError) -> Int? {
    skipWhitespace()
    let start = position
    var value = 0
    while position < bytes.count, (0x30...0x39).contains(bytes[position]), position - start < 18 {
      value = value * 10 + Int(bytes[position] - 0x30)
      position += 1
    }
    if position > start, position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 0x20, 0x0A, 0x0D, 0x09:
        if bytes[start] != UInt8(ascii: "0") || position == start + 1 { return value }
      default: break
      }
    }
    position = start
    let number = try number()
    return number.integer(Int.self).flatMap { $0 >= 0 ? $0 : nil }
  }
}
