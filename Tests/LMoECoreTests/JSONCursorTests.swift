import LMoECore
import Testing

/// Pulling values out one by one, as the safetensors reader does.
@Suite struct JSONCursorTests {
  @Test func `a walk`() throws {
    var cursor = JSONCursor(Array(#"{"n": [1, "x", true, null], "skip": {"a": [{}]}, "end": -2.5e1}"#.utf8))
    #expect(try cursor.kind() == .object)
    try cursor.beginObject()
    #expect(try cursor.nextKey() == "n")
    try cursor.beginArray()
    #expect(try cursor.nextElement())
    #expect(try cursor.kind() == .number)
    #expect(try cursor.number().text == "1")
    #expect(try cursor.nextElement())
    #expect(try cursor.kind() == .string)
    #expect(try cursor.string() == "x")
    #expect(try cursor.nextElement())
    #expect(try cursor.kind() == .bool)
    #expect(try cursor.bool())
    #expect(try cursor.nextElement())
    #expect(try cursor.kind() == .null)
    try cursor.null()
    #expect(try !cursor.nextElement())
    #expect(try cursor.nextKey() == "skip")
    try cursor.skipValue()
    #expect(try cursor.nextKey() == "end")
    #expect(try cursor.number().double == -25)
    #expect(try cursor.nextKey() == nil)
    try cursor.end()
  }

  @Test func `the wrong type is an error where the value begins`() {
    func expectError(_ text: String, at offset: Int, _ read: (inout JSONCursor) throws -> Void) {
      var cursor = JSONCursor(Array(text.utf8))
      let error = #expect(throws: JSONError.self) { try read(&cursor) }
      #expect(error?.offset == offset, "\(text)")
    }
    expectError(" 1", at: 1) { _ = try $0.string() }
    expectError(" \"1\"", at: 1) { _ = try $0.number() }
    expectError("1", at: 0) { _ = try $0.bool() }
    expectError("0", at: 0) { try $0.null() }
    expectError("[]", at: 0) { try $0.beginObject() }
    expectError(" {}", at: 1) { try $0.beginArray() }
    expectError("-", at: 1) { _ = try $0.number() }
  }

  @Test func `duplicates may be left to the caller`() throws {
    var cursor = JSONCursor(Array(#"{"a": 1, "a": {"b": 1, "b": 2}}"#.utf8))
    try cursor.beginObject(uniqueKeys: false)
    #expect(try cursor.nextKey() == "a")
    try cursor.skipValue()
    #expect(try cursor.nextKey() == "a")
    // An inner object is checked all the same.
    #expect(throws: JSONError(.duplicateKey("b"), at: 23)) { try cursor.skipValue() }
  }

  @Test(arguments: [
    #""""#, #""plain""#, #""\"\\\/\b\f\n\r\t""#, #""\u0041\u00e9\u20AC\u0120""#,
    #""\uD83D\uDE00\uDBFF\uDFFF""#,
    #""a\u0062c\u0064""#, #""é😀\n é""#, #""a"#, #""a\"#, #""\u12"#, #""\u12G4""#, #""\u00４1""#, #""\uD83D""#,
    #""\uDC00""#,
    #""\x""#, "\"a\nb\"", "\"\\n\u{1}\"",
  ])
  func `a string as bytes is the string`(text: String) {
    var whole = JSONCursor(Array(text.utf8)), bytes = whole
    var output: [UInt8] = [0x5F]
    let expected = Result { () throws(JSONError) in try whole.string() }
    let found = Result { () throws(JSONError) in try bytes.string(appendingTo: &output) }
    switch (expected, found) {
    case (.success(let string), .success):
      #expect(output == [0x5F] + Array(string.utf8))
      #expect(bytes.position == whole.position)
    case (.failure(let left), .failure(let right)): #expect(left == right)
    default: Issue.record("\(text): \(expected), but \(found)")
    }
  }

  @Test(arguments: [
    (JSONError(.unexpectedByte(0x41), at: 3), "unexpected 'A' (byte 3)"),
    (JSONError(.unexpectedByte(0x0A), at: 0), "unexpected byte 0xa (byte 0)"),
    (JSONError(.duplicateKey("a\u{1B}[2J"), at: 9), "the key \"a␛[2J\" stands twice in one object (byte 9)"),
    (JSONError(.tooDeep(64), at: 64), "nested more than 64 deep (byte 64)"),
    (JSONError(.expected("','"), at: 1), "expected ',' (byte 1)"),
    (JSONError(.invalidUTF8, at: 1), "invalid UTF-8 (byte 1)"),
  ])
  func `sentences`(error: JSONError, sentence: String) {
    #expect(error.description == sentence)
  }
}
