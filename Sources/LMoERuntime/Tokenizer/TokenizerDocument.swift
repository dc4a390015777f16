import LMoECore

/// What a `tokenizer.json` says, before anything is made of it.
struct TokenizerDocument {
  /// The vocabulary: tokens and their numbers.
  var tokens = TextList()
  var numbers: [Int] = []
  /// The merges: left, right, left, right, ….
  var merges = TextList()
  /// Everything else of the model.
  var model = JSONObject()
  /// Everything else.
  var sections = JSONObject()

  private let path: String

  /// Reads `bytes`.
  ///
  /// - Parameters:
  ///   - bytes: The file.
  ///   - path: What errors call it.
  init(_ bytes: [UInt8], path: String) throws(TokenizerError) {
    self.path = path
    // The tokens are read without looking at their UTF-8 again.
    guard (try? UTF8Span(validating: bytes.span)) != nil else {
      throw TokenizerError(.invalidDocument, path: path, found: "invalid UTF-8")
    }
    do {
      try read(bytes)
    } catch let error as TokenizerError {
      throw error
    } catch {
      throw TokenizerError(.invalidDocument, path: path, found: "\(error)")
    }
  }

  private mutating func read(_ bytes: [UInt8]) throws {
    // Room for as many as there can be is cheap as long as nobody touches it; lists that grow are copied.
    tokens.reserve(bytes: bytes.count / 2)
    merges.reserve(bytes: bytes.count / 2)
    numbers.reserveCapacity(bytes.count / 16)
    var cursor = JSONCursor(bytes)
    try cursor.beginObject()
    while let key = try cursor.nextKey() {
      if key == "model", try cursor.kind() == .object {
        try readModel(&cursor)
      } else {
        sections[key] = try cursor.value()
      }
    }
    try cursor.end()
  }

  private mutating func readModel(_ cursor: inout JSONCursor) throws {
    try cursor.beginObject()
    while let key = try cursor.nextKey() {
      switch (key, try cursor.kind()) {
      case ("vocab", .object): try readVocabulary(&cursor)
      case ("merges", .array): try readMerges(&cursor)
      default: model[key] = try cursor.value()
      }
    }
    sections["model"] = .object(model)
  }

  private mutating func readVocabulary(_ cursor: inout JSONCursor) throws {
    try cursor.beginObject(uniqueKeys: false)
    while try cursor.nextKey(appendingTo: &tokens.bytes) {
      tokens.end()
      guard let number = try cursor.index() else {
        throw TokenizerError(
          .invalidField, path: path, place: "model.vocab",
          name: String(decoding: tokens[tokens.count - 1], as: UTF8.self), expected: "a number from 0 up",
          found: "another number")
      }
      numbers.append(number)
    }
    model["vocab"] = true
  }

  private mutating func readMerges(_ cursor: inout JSONCursor) throws {
    try cursor.beginArray()
    while try cursor.nextElement() {
      let start = merges.count
      if try cursor.kind() == .array {
        try cursor.beginArray()
        while try cursor.nextElement() {
          try cursor.string(appendingTo: &merges.bytes)
          merges.end()
        }
      } else {
        try readLine(&cursor)
      }
      guard merges.count == start + 2 else {
        throw TokenizerError(
          .invalidMerge, path: path, place: "model.merges[\(start / 2)]", expected: "two tokens",
          found: "\(merges.count - start) tokens")
      }
    }
    model["merges"] = true
  }

  /// `left right`, as older files have it.
  private mutating func readLine(_ cursor: inout JSONCursor) throws {
    let start = merges.bytes.count
    try cursor.string(appendingTo: &merges.bytes)
    merges.split(from: start, at: 0x20)
  }
}
