/// A strict pull parser for JSON (RFC 8259) over bytes.
///
/// It refuses what permissive parsers disagree on: duplicate keys (compared as bytes after unescaping), lone
/// surrogates, invalid UTF-8, a byte order mark, leading zeros, deep nesting. Numbers stay text.
public struct JSONCursor {
  /// The text.
  public let bytes: [UInt8]
  /// How far it has read.
  public internal(set) var position = 0
  let maximumDepth: Int
  var levels: [Level] = []

  struct Level {
    var isFirst = true
    /// nil where the caller looks for duplicates itself.
    var keys: KeySet?
  }

  /// Starts at the first byte of `bytes`.
  public init(_ bytes: [UInt8], maximumDepth: Int = 64) {
    self.bytes = bytes
    self.maximumDepth = maximumDepth
  }

  /// What the next value is.
  public enum Kind: Hashable, Sendable { case object, array, string, number, bool, null }

  /// The kind of the next value, without reading it.
  public mutating func kind() throws(JSONError) -> Kind {
    skipWhitespace()
    switch try peek() {
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "\""): return .string
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
    case UInt8(ascii: "n"): return .null
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
    case let byte: throw JSONError(.unexpectedByte(byte), at: position)
    }
  }

  /// Enters an object.
  ///
  /// `uniqueKeys: false` leaves it to the caller to find duplicates.
  public mutating func beginObject(uniqueKeys: Bool = true) throws(JSONError) {
    try begin(UInt8(ascii: "{"), "an object", Level(keys: uniqueKeys ? KeySet() : nil))
  }

  /// Enters an array.
  public mutating func beginArray() throws(JSONError) {
    try begin(UInt8(ascii: "["), "an array", Level(keys: nil))
  }

  /// The next key of the object entered last, its colon passed; nil at the end, the object left.
  public mutating func nextKey() throws(JSONError) -> String? {
    guard try advance(closing: UInt8(ascii: "}")) else { return nil }
    skipWhitespace()
    let start = position
    let key = try string()
    if levels[levels.count - 1].keys?.insert(key) == false {
      throw JSONError(.duplicateKey(key), at: start)
    }
    skipWhitespace()
    try expect(UInt8(ascii: ":"), "':'")
    return key
  }

  /// Whether the array entered last has another element; if not, the array is left.
  public mutating func nextElement() throws(JSONError) -> Bool {
    try advance(closing: UInt8(ascii: "]"))
  }

  /// Reads a string.
  public mutating func string() throws(JSONError) -> String {
    skipWhitespace()
    try expect(UInt8(ascii: "\""), "a string")
    let start = position
    skipPlainText()
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "\""):
        defer { position += 1 }
        return try text(bytes[start..<position], at: start)
      case UInt8(ascii: "\\"): return try escapedString(from: start)
      case 0..<0x20: throw JSONError(.invalidString, at: position)
      default: position += 1
      }
    }
    throw JSONError(.unexpectedEnd, at: position)
  }

  /// Reads a number, as its text.
  public mutating func number() throws(JSONError) -> JSONNumber {
    skipWhitespace()
    let start = position
    func digits(_ cursor: inout JSONCursor) throws(JSONError) {
      let first = cursor.position
      while cursor.position < cursor.bytes.count, (0x30...0x39).contains(cursor.bytes[cursor.position]) {
        cursor.position += 1
      }
      if cursor.position == first { throw JSONError(.invalidNumber, at: first) }
    }
    if skip(UInt8(ascii: "-")) {}
    let first = position
    try digits(&self)
    if bytes[first] == UInt8(ascii: "0") && position > first + 1 {
      throw JSONError(.invalidNumber, at: first)
    }
    if skip(UInt8(ascii: ".")) { try digits(&self) }
    if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
      if !skip(UInt8(ascii: "+")) { _ = skip(UInt8(ascii: "-")) }
      try digits(&self)
    }
    return JSONNumber(text: String(decoding: bytes[start..<position], as: UTF8.self))
  }

  /// Reads `true` or `false`.
  public mutating func bool() throws(JSONError) -> Bool {
    skipWhitespace()
    if try peek() == UInt8(ascii: "t") {
      try word("true")
      return true
    }
    try word("false")
    return false
  }

  /// Reads `null`.
  public mutating func null() throws(JSONError) {
    skipWhitespace()
    try word("null")
  }

  /// Passes over a value of any kind, checking it all the same.
  public mutating func skipValue() throws(JSONError) {
    switch try kind() {
    case .object:
      try beginObject()
      while try nextKey() != nil { try skipValue() }
    case .array:
      try beginArray()
      while try nextElement() { try skipValue() }
    case .string: _ = try string()
    case .number: _ = try number()
    case .bool: _ = try bool()
    case .null: try null()
    }
  }

  /// Makes sure that nothing but white space is left.
  public mutating func end() throws(JSONError) {
    skipWhitespace()
    if position < bytes.count { throw JSONError(.trailingBytes, at: position) }
  }
}

/// The keys of one object.
///
/// Most objects have few, and comparing those is faster than hashing them.
struct KeySet {
  private var few: [String] = []
  private var many: Set<ByteKey> = []

  /// Whether `key` is new.
  mutating func insert(_ key: String) -> Bool {
    if many.isEmpty {
      if few.contains(where: { $0.hasSameBytes(as: key) }) { return false }
      few.append(key)
      if few.count > 12 { many = Set(few.map { ByteKey($0) }) }
      return true
    }
    return many.insert(ByteKey(key)).inserted
  }
}
