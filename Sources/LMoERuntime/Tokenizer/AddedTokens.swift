import LMoECore

/// A token that is found in the text itself, before anything else happens.
struct AddedToken: Sendable {
  let number: Int
  /// As the file has it.
  let content: [UInt8]
  /// As it is looked for, and as it is decoded: normalised, if it is to be.
  let text: [UInt8]
  /// Whether it is no match within a word.
  let isSingleWord: Bool
  /// Whether it takes the white space before or after it.
  let stripsLeft: Bool
  let stripsRight: Bool
  /// Whether it is looked for in normalised text.
  let isNormalized: Bool
  /// Whether decoding may leave it out.
  let isSpecial: Bool
}

/// All added tokens.
struct AddedTokens: Sendable {
  /// By number.
  private(set) var byNumber: [Int: AddedToken] = [:]
  /// Numbers by content.
  private(set) var numbers: [[UInt8]: Int] = [:]
  /// The texts that decoding leaves out.
  private var special: Set<[UInt8]> = []
  private let raw: TokenTrie
  private let normalized: TokenTrie
  /// How many are not in the model's vocabulary.
  private(set) var extraCount = 0

  /// Whether any is looked for in normalised text.
  var hasNormalized: Bool { !normalized.isEmpty }

  /// Reads the section `added_tokens`.
  ///
  /// - Parameters:
  ///   - json: The section.
  ///   - vocabulary: The model's tokens.
  ///   - normalizer: For the tokens that want it.
  ///   - path: What errors call the file.
  init(
    _ json: JSON?, vocabulary: Vocabulary, normalizer: Normalizer, path: String
  ) throws(TokenizerError) {
    var raw = TokenTrie()
    var normalized = TokenTrie()
    var next = vocabulary.count
    for (index, element) in (json?.array ?? []).enumerated() {
      let place = "added_tokens[\(index)]"
      let token = try Self.read(element, normalizer, path: path, place: place)
      guard !token.content.isEmpty else { continue }
      // The library gives numbers in this order and takes those in the file for a hint.
      let known = numbers[token.content] ?? vocabulary.number(of: token.content)
      let number = known ?? next
      if number != token.number {
        throw TokenizerError(
          .mismatchedToken, path: path, place: place, name: String(decoding: token.content, as: UTF8.self),
          expected: "\(number)", found: "\(token.number)")
      }
      if known == nil {
        next += 1
        extraCount += 1
      }
      byNumber[number] = token
      numbers[token.content] = number
      if token.isSpecial { special.insert(token.content) }
    }
    for token in byNumber.values {
      let isNew = token.isNormalized ? normalized.insert(token) : raw.insert(token)
      if !isNew {
        throw TokenizerError(
          .duplicateToken, path: path, place: "added_tokens",
          name: String(decoding: token.text, as: UTF8.self))
      }
    }
    self.raw = raw
    self.normalized = normalized
  }

  private static func read(
    _ json: JSON, _ normalizer: Normalizer, path: String, place: String
  ) throws(TokenizerError) -> AddedToken {
    func fail(_ name: String, _ expected: String) -> TokenizerError {
      TokenizerError(
        .invalidField, path: path, place: place, name: name, expected: expected,
        found: json[name]?.serialized() ?? "nothing")
    }
    func flag(_ name: String) throws(TokenizerError) -> Bool {
      guard let value = json[name]?.bool else { throw fail(name, "true or false") }
      return value
    }
    guard let number = json["id"]?.int, number >= 0 else { throw fail("id", "a number from 0 up") }
    guard let content = json["content"]?.string, content.utf8.count <= 4096 else {
      throw fail("content", "a text of at most 4096 bytes")
    }
    let isNormalized = try flag("normalized")
    let bytes = Array(content.utf8)
    return AddedToken(
      number: number, content: bytes, text: isNormalized ? normalizer.normalized(bytes) : bytes,
      isSingleWord: try flag("single_word"), stripsLeft: try flag("lstrip"), stripsRight: try flag("rstrip"),
      isNormalized: isNormalized, isSpecial: try flag("special"))
  }

  /// Whether decoding without special tokens leaves out a token, given as it is decoded.
  func isSpecial(_ text: [UInt8]) -> Bool { special.contains(text) }

  /// A part of a text.
  enum Part {
    case token(Int)
    case text(Range<Int>)
  }

  /// The tokens in `text` and what is between them.
  ///
  /// - Parameters:
  ///   - text: Valid UTF-8.
  ///   - isNormalized: Whether it is normalised text, with the tokens that are looked for there.
  func parts(of text: [UInt8], isNormalized: Bool) -> [Part] {
    let trie = isNormalized ? normalized : raw
    guard !trie.isEmpty else { return text.isEmpty ? [] : [.text(0..<text.count)] }
    var parts: [Part] = []
    var position = 0
    // Up to where the text is in a part; white space taken by one token may be searched by the next.
    var done = 0
    while let match = trie.firstMatch(in: text, from: position) {
      position = match.range.upperBound
      guard let token = byNumber[match.number] else { continue }
      var start = match.range.lowerBound
      var end = match.range.upperBound
      if token.isSingleWord, text.endsInWord(before: start) || text.startsWord(at: end) { continue }
      if token.stripsLeft { start = max(text.spaceStart(before: start), done) }
      if token.stripsRight { end = text.spaceEnd(from: end) }
      if done < start { parts.append(.text(done..<start)) }
      parts.append(.token(match.number))
      done = end
    }
    if done < text.count { parts.append(.text(done..<text.count)) }
    return parts
  }
}

extension [UInt8] {
  fileprivate func endsInWord(before index: Int) -> Bool {
    index > 0 && Self.isWord(scalar(at: scalarStart(before: index)).value)
  }

  fileprivate func startsWord(at index: Int) -> Bool { index < count && Self.isWord(scalar(at: index).value) }

  /// `\w`, in the version of Unicode that the library's regular expressions have.
  private static func isWord(_ value: UInt32) -> Bool {
    guard let properties = Unicode.Scalar(value)?.properties, let age = properties.age, age.major <= 16 else {
      return false
    }
    switch properties.generalCategory {
    case .decimalNumber, .connectorPunctuation, .nonspacingMark, .spacingMark, .enclosingMark: return true
    default: return properties.isAlphabetic || properties.isJoinControl
    }
  }

  fileprivate func spaceStart(before index: Int) -> Int {
    var start = index
    while start > 0 {
      let before = scalarStart(before: start)
      guard ScalarClasses.all[scalar(at: before).value].isAny(of: .space) else { break }
      start = before
    }
    return start
  }

  fileprivate func spaceEnd(from index: Int) -> Int {
    var end = index
    while end < count {
      let (value, length) = scalar(at: end)
      guard ScalarClasses.all[value].isAny(of: .space) else { break }
      end += length
    }
    return end
  }
}
