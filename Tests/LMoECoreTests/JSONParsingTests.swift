import LMoECore
import Testing

/// What the parser takes, and where it stops in what it does not take.
@Suite struct JSONParsingTests {
  /// Texts that must be accepted, and the value written again on one line (nil: the text itself).
  static let accepted: [(text: String, value: String?)] = [
    ("null", nil), ("true", nil), ("false", nil), ("[]", nil), ("{}", nil), ("\"\"", nil),
    (" \t\r\n[ 1 , 2 ]\n", "[1,2]"), ("{ \"a\" : { } , \"b\" : [ ] }", "{\"a\":{},\"b\":[]}"),
    // Numbers keep their text.
    ("0", nil), ("-0", nil), ("-1", nil), ("10", nil), ("0.0", nil), ("-0.50", nil), ("1e5", nil),
    ("1E+05", nil), ("1e-00", nil), ("0e1", nil), ("1.5e300", nil), ("1e99999", nil),
    ("123456789012345678901234567890", nil), ("[-9223372036854775809]", nil), ("0.1e-2", nil),
    // Escapes.
    (#""\"\\\/\b\f\n\r\t""#, #""\"\\/\u0008\u000c\n\r\t""#), (#""\u0041\u00e9\u20AC""#, "\"Aé€\""),
    (#""\uD83D\uDE00""#, "\"😀\""), (#""\uDBFF\uDFFF""#, "\"\u{10FFFF}\""), (#""\u0000""#, nil),
    (#""\uFFFE\uFFFF\uFEFF""#, "\"\u{FFFE}\u{FFFF}\u{FEFF}\""), (#""\\u0041""#, nil),
    (#""a\u0062c""#, "\"abc\""),
    // Raw characters of every length in UTF-8; DEL and C1 controls are not control characters to JSON.
    (
      "\"\u{7F}\u{80}\u{7FF}\u{800}\u{FFFD}\u{10000}\u{10FFFF}\"",
      "\"\\u007f\\u0080\u{7FF}\u{800}\u{FFFD}\u{10000}\u{10FFFF}\""
    ),
    ("\"\u{2028}\u{2029}\"", nil), ("\"😀\"", nil),
    // Keys that are canonically equivalent are different keys.
    ("{\"é\":1,\"e\u{301}\":2}", nil), ("{\"\u{C5}\":1,\"\u{212B}\":2,\"A\u{30A}\":3}", nil),
    ("{\"a\":1,\"A\":2,\"\":3,\" \":4}", nil), ("[{\"a\":1},{\"a\":2}]", nil),
    ("{\"a\":{\"a\":{\"a\":1}}}", nil),
  ]

  @Test func `texts that are accepted`() throws {
    for (text, value) in Self.accepted {
      let json = try JSON(parsing: Array(text.utf8))
      #expect(json.serialized() == value ?? text)
      #expect(json.serialized().hasSameBytes(as: value ?? text))
      // A reader that only passes over the value agrees.
      var cursor = JSONCursor(Array(text.utf8))
      try cursor.skipValue()
      try cursor.end()
    }
  }

  /// Texts that must be refused: why, and at which byte.
  static let refused: [(text: String, reason: JSONError.Reason, offset: Int)] = [
    ("", .unexpectedEnd, 0), (" \n", .unexpectedEnd, 2), ("[", .unexpectedEnd, 1), ("[1", .unexpectedEnd, 2),
    ("[1,", .unexpectedEnd, 3), ("{", .unexpectedEnd, 1), ("{\"a\"", .unexpectedEnd, 4),
    ("{\"a\":", .unexpectedEnd, 5), ("{\"a\":1", .unexpectedEnd, 6), ("\"", .unexpectedEnd, 1),
    ("\"a", .unexpectedEnd, 2), ("\"a\\", .unexpectedEnd, 3), ("\"\\u12", .unexpectedEnd, 5),
    ("tru", .unexpectedEnd, 3), ("n", .unexpectedEnd, 1),
    ("1 2", .trailingBytes, 2), ("{}{}", .trailingBytes, 2), ("[]]", .trailingBytes, 2),
    ("\"\"x", .trailingBytes, 2),
    ("nullx", .trailingBytes, 4), ("1\0", .trailingBytes, 1), ("{} // no", .trailingBytes, 3),
    ("00", .invalidNumber, 0),
    ("01", .invalidNumber, 0), ("-01", .invalidNumber, 1), ("-", .invalidNumber, 1),
    ("1.", .invalidNumber, 2),
    ("1.e3", .invalidNumber, 2), ("1e", .invalidNumber, 2), ("1e+", .invalidNumber, 3),
    ("1e+-1", .invalidNumber, 3),
    ("-x", .invalidNumber, 1), ("--1", .invalidNumber, 1), ("-Infinity", .invalidNumber, 1),
    ("+1", .unexpectedByte(0x2B), 0), (".5", .unexpectedByte(0x2E), 0), ("NaN", .unexpectedByte(0x4E), 0),
    ("Infinity", .unexpectedByte(0x49), 0), ("0x10", .trailingBytes, 1), ("1_000", .trailingBytes, 1),
    ("1e1.5", .trailingBytes, 3), ("１", .unexpectedByte(0xEF), 0), ("True", .unexpectedByte(0x54), 0),
    ("'a'", .unexpectedByte(0x27), 0), ("[1,]", .unexpectedByte(0x5D), 3), ("[,1]", .unexpectedByte(0x2C), 1),
    ("[1,,2]", .unexpectedByte(0x2C), 3), ("[}", .unexpectedByte(0x7D), 1),
    ("/**/1", .unexpectedByte(0x2F), 0),
    ("\u{FEFF}{}", .unexpectedByte(0xEF), 0), ("\u{A0}1", .unexpectedByte(0xC2), 0),
    ("\u{0C}1", .unexpectedByte(0x0C), 0),
    ("[1 2]", .expected("','"), 3), ("{\"a\":1 \"b\":2}", .expected("','"), 7), ("[1}", .expected("','"), 2),
    ("{\"a\" 1}", .expected("':'"), 5), ("{\"a\",1}", .expected("':'"), 4),
    ("{a:1}", .expected("a string"), 1),
    ("{1:1}", .expected("a string"), 1), ("{\"a\":1,}", .expected("a string"), 7),
    ("{null:1}", .expected("a string"), 1),
    ("trve", .expected("true"), 2), ("nul1", .expected("null"), 3), ("falsy", .expected("false"), 4),
    ("\"\\x41\"", .invalidString, 2), ("\"\\'\"", .invalidString, 2), ("\"\\U0041\"", .invalidString, 2),
    ("\"\\a\"", .invalidString, 2), ("\"\\\n\"", .invalidString, 2), ("\"a\nb\"", .invalidString, 2),
    ("\"\u{1F}\"", .invalidString, 1), ("\"\0\"", .invalidString, 1), ("\"\\n\t\"", .invalidString, 3),
    ("\"\\u00g0\"", .invalidString, 5), ("\"\\u+041\"", .invalidString, 3),
    ("\"\\u 041\"", .invalidString, 3),
    ("\"\\u00４1\"", .invalidString, 5),
    // Surrogates: the offset is that of the backslash of the first escape.
    (#""\uD800""#, .invalidString, 1), (#""a\uDC00""#, .invalidString, 2),
    (#""\uDFFF\uD800""#, .invalidString, 1),
    (#""\uD800\uD800\uDC00""#, .invalidString, 1), (#""\uD800\n""#, .invalidString, 1),
    (#""\uD83Dx""#, .invalidString, 1),
    (#""\uD83D\u0041""#, .invalidString, 1),
    // Duplicate keys, the second's offset: plain, by escape, in an inner object.
    ("{\"a\":1,\"a\":1}", .duplicateKey("a"), 7), (#"{"a":1,"\u0061":2}"#, .duplicateKey("a"), 7),
    (#"{"\/":1,"/":2}"#, .duplicateKey("/"), 8), ("{\"x\":{\"\":1,\"\":2}}", .duplicateKey(""), 11),
    ("{\"é\":1,\"\\u00E9\":2}", .duplicateKey("é"), 8),
  ]

  @Test func `texts that are refused`() {
    for (text, reason, offset) in Self.refused {
      let expected = JSONError(reason, at: offset)
      #expect(throws: expected, "\(text)") { try JSON(parsing: Array(text.utf8)) }
      #expect(throws: expected, "\(text)") {
        var cursor = JSONCursor(Array(text.utf8))
        try cursor.skipValue()
        try cursor.end()
      }
    }
  }

  @Test(
    arguments: [
      [0x80], [0xBF], [0xC0, 0xAF], [0xC1, 0xBF], [0xC3], [0xC3, 0x28], [0xE2, 0x82], [0xE0, 0x80, 0xAF],
      [0xE0, 0x9F, 0xBF],
      [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x9F, 0x98],
      [0xF4, 0x90, 0x80, 0x80],
      [0xF5, 0x80, 0x80, 0x80], [0xFE], [0xFF], [0xC3, 0xA9, 0xA9],
    ] as [[UInt8]])
  func `invalid UTF-8 in a string`(bytes: [UInt8]) {
    let quote = UInt8(ascii: "\"")
    // The offset is that of the string's first byte; an escape in it changes nothing.
    for prefix in ["", "ab", "\\n"] {
      #expect(throws: JSONError(.invalidUTF8, at: 2)) {
        try JSON(parsing: Array("[\"\(prefix)".utf8) + bytes + [quote, UInt8(ascii: "]")])
      }
    }
    #expect(throws: JSONError(.invalidUTF8, at: 2)) {
      try JSON(parsing: Array("{\"".utf8) + bytes + Array("\":1}".utf8))
    }
  }

  @Test(arguments: [1, 2, 64, 100]) func `depth`(limit: Int) throws {
    func nested(_ depth: Int, _ open: String, _ close: String) -> [UInt8] {
      Array((String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)).utf8)
    }
    for (open, close) in [("[", "]"), ("{\"k\":", "}")] {
      _ = try JSON(parsing: nested(limit, open, close), maximumDepth: limit)
      #expect(throws: JSONError(.tooDeep(limit), at: limit * open.utf8.count)) {
        try JSON(parsing: nested(limit + 1, open, close), maximumDepth: limit)
      }
    }
    // What has been left does not count.
    let inner = nested(limit - 1, "[", "]")
    _ = try JSON(
      parsing: Array("[".utf8) + inner + Array(",".utf8) + inner + Array("]".utf8), maximumDepth: limit)
    #expect(throws: JSONError.self) { try JSON(parsing: nested(100_000, "[", "")) }
  }

  @Test func `the default depth is 64`() throws {
    func nested(_ depth: Int) -> [UInt8] {
      Array(repeating: UInt8(ascii: "["), count: depth) + Array(repeating: UInt8(ascii: "]"), count: depth)
    }
    _ = try JSON(parsing: nested(64))
    #expect(throws: JSONError(.tooDeep(64), at: 64)) { try JSON(parsing: nested(65)) }
  }
}
