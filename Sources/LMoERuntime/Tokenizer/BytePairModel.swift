import LMoECore

/// Byte-pair encoding: a word becomes its characters, and pairs of neighbours join, the most frequent of
/// training first.
struct BytePairModel: Sendable {
  let vocabulary: Vocabulary
  let merges: MergeTable
  /// Whether a word that is a token is taken whole.
  let ignoresMerges: Bool
  /// Whether a character that is no token becomes the tokens of its bytes (`<0x0A>`).
  private let byteTokens: [UInt32]?
  /// What a character becomes that is no token; nil: nothing.
  private let unknown: UInt32?
  /// Whether neighbours that are no tokens become one unknown token.
  private let fusesUnknown: Bool
  /// The token of each byte as byte-level text writes it; nil for text that is not byte-level.
  private let byteCharacters: [UInt32?]?
  /// The character before which a word can be cut without changing its tokens.
  let cutCharacter: [UInt8]?

  /// Makes the model of a document.
  ///
  /// - Parameters:
  ///   - document: The file.
  ///   - isByteLevel: Whether words are byte-level.
  ///   - path: What errors call the file.
  init(_ document: TokenizerDocument, isByteLevel: Bool, path: String) throws(TokenizerError) {
    let options = try Self.checkedOptions(document, path: path)
    vocabulary = try Self.vocabulary(document, path: path)
    merges = try Self.merges(document, vocabulary, path: path)
    ignoresMerges = options.ignoresMerges
    fusesUnknown = options.fusesUnknown
    var bytes: [UInt32] = []
    if options.hasByteFallback {
      for byte in UInt8.min ... .max {
        let hex = String(byte, radix: 16, uppercase: true)
        let token = "<0x\(hex.utf8.count == 1 ? "0" : "")\(hex)>"
        guard let number = vocabulary.number(of: Array(token.utf8)) else {
          throw TokenizerError(.unknownToken, path: path, place: "model.byte_fallback", name: token)
        }
        bytes.append(UInt32(number))
      }
    }
    byteTokens = options.hasByteFallback ? bytes : nil
    let characters =
      isByteLevel
      ? ByteAlphabet.characters.map { [vocabulary] in vocabulary.number(of: $0).map { UInt32($0) } } : nil
    byteCharacters = characters
    // Where every byte has its token, nothing is unknown.
    let needsUnknown = !options.hasByteFallback && characters?.contains(nil) != false
    unknown = try options.unknown.flatMap { [vocabulary] (token) throws(TokenizerError) in
      let number = vocabulary.number(of: Array(token.utf8)).map { UInt32($0) }
      if number == nil, needsUnknown {
        throw TokenizerError(.unknownToken, path: path, place: "model.unk_token", name: token)
      }
      return number
    }
    cutCharacter = isByteLevel || options.ignoresMerges ? nil : Self.cutCharacter(document, vocabulary)
  }

  private struct Options {
    var unknown: String?
    var fusesUnknown: Bool
    var hasByteFallback: Bool
    var ignoresMerges: Bool
  }

  private static func checkedOptions(
    _ document: TokenizerDocument, path: String
  ) throws(TokenizerError) -> Options {
    var model = document.model
    // The first files had no type.
    let isUntyped = model["type"] == nil && model["vocab"]?.bool == true && model["merges"]?.bool == true
    if isUntyped { model["type"] = "BPE" }
    var reader = try ComponentReader(.object(model), path: path, place: "model")
    guard reader.type == "BPE" else {
      throw TokenizerError(.unsupportedModel, path: path, expected: "BPE", found: reader.type)
    }
    for part in ["vocab", "merges"] where reader.value(part)?.bool != true { throw reader.missing(part) }
    if let dropout = reader.value("dropout"), dropout.double != 0 {
      throw reader.unsupported("dropout", dropout, "0")
    }
    for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let text = reader.value(affix), text.string != "" { throw reader.unsupported(affix, text, "none") }
    }
    let unknown = reader.value("unk_token") == nil ? nil : try reader.string("unk_token")
    let options = Options(
      unknown: unknown, fusesUnknown: try reader.bool("fuse_unk", default: false),
      hasByteFallback: try reader.bool("byte_fallback", default: false),
      ignoresMerges: try reader.bool("ignore_merges", default: false))
    try reader.end()
    return options
  }

  private static func vocabulary(
    _ document: TokenizerDocument, path: String
  ) throws(TokenizerError) -> Vocabulary {
    func text(_ token: ArraySlice<UInt8>) -> String { String(decoding: token, as: UTF8.self) }
    do throws(Vocabulary.Defect) {
      return try Vocabulary(document.tokens, numbers: document.numbers)
    } catch {
      switch error {
      case .duplicateToken(let token):
        throw TokenizerError(.duplicateToken, path: path, place: "model.vocab", name: text(token))
      case .duplicateNumber(let first, let second, let number):
        throw TokenizerError(
          .duplicateNumber, path: path, name: text(first), expected: "\(number)", found: text(second))
      case .numberOutOfRange(let token, let number):
        throw TokenizerError(
          .numberOutOfRange, path: path, name: text(token), expected: "\(document.numbers.count)",
          found: "\(number)")
      }
    }
  }

  private static func merges(
    _ document: TokenizerDocument, _ vocabulary: Vocabulary, path: String
  ) throws(TokenizerError) -> MergeTable {
    let texts = document.merges
    var merges = MergeTable(capacity: texts.count / 2)
    // Vocabularies are in the order of the merges: the next token is most likely what the next merge makes.
    var next = 0
    for rank in 0..<texts.count / 2 {
      let left = texts.range(rank * 2)
      let right = texts.range(rank * 2 + 1)
      // They stand next to each other.
      let both = left.lowerBound..<right.upperBound
      func number(_ token: Range<Int>) throws(TokenizerError) -> UInt32 {
        if let number = vocabulary.number(of: texts.bytes, token) { return UInt32(number) }
        throw TokenizerError(
          .unknownToken, path: path, place: "model.merges[\(rank)]",
          name: String(decoding: texts.bytes[token], as: UTF8.self))
      }
      let a = try number(left)
      let b = try number(right)
      let isNext = vocabulary.hasToken(next, texts.bytes, both)
      let result = isNext ? UInt32(next) : try number(both)
      next = Int(result) + 1
      let merge = MergeTable.Merge(rank: UInt32(rank), result: result)
      guard merges.insert(a, b, merge) else {
        throw TokenizerError(
          .duplicateMerge, path: path, place: "model.merges[\(rank)]",
          name: String(decoding: texts.bytes[both], as: UTF8.self))
      }
    }
    return merges
  }

  /// `▁`, if it is a token and no merge has it behind anything but itself.
  ///
  /// A text without other splits is one word, and could not be remembered as the words it consists of.
  private static func cutCharacter(_ document: TokenizerDocument, _ vocabulary: Vocabulary) -> [UInt8]? {
    let mark = Array("▁".utf8)
    guard vocabulary.number(of: mark) != nil else { return nil }
    let texts = document.merges
    for rank in 0..<texts.count / 2 {
      let result = texts.range(rank * 2).lowerBound..<texts.range(rank * 2 + 1).upperBound
      var start = result.lowerBound
      while texts.bytes.has(mark, at: start), start + mark.count <= result.upperBound { start += mark.count }
      if texts.bytes.firstIndex(of: mark, in: start..<result.upperBound) != nil { return nil }
    }
    return mark
  }

  /// The token that a whole word is, if it is one.
  func token(of text: [UInt8], _ word: Range<Int>) -> UInt32? {
    guard byteCharacters != nil else { return vocabulary.number(of: text, word).map { UInt32($0) } }
    var characters: [UInt8] = []
    characters.reserveCapacity(word.count * 2)
    for index in word { characters += ByteAlphabet.characters[Int(text[index])] }
    return vocabulary.number(of: characters).map { UInt32($0) }
  }

  /// Appends the tokens of the characters of a word.
  func appendCharacters(of text: [UInt8], _ word: Range<Int>, to symbols: inout [UInt32]) {
    var waiting: UInt32?
    var index = word.lowerBound
    while index < word.upperBound {
      let number: UInt32?
      var length = 1
      if let byteCharacters {
        number = byteCharacters[Int(text[index])]
      } else {
        if text[index] >= 0x80 { length = min(text.scalar(at: index).length, word.upperBound - index) }
        number = vocabulary.number(of: text, index..<index + length).map { UInt32($0) }
      }
      if let number {
        if let unknown = waiting {
          symbols.append(unknown)
          waiting = nil
        }
        symbols.append(number)
      } else if let byteTokens {
        let bytes =
          byteCharacters == nil
          ? text[index..<index + length] : ByteAlphabet.characters[Int(text[index])][...]
        // What waits goes on waiting: an oddity of the library.
        for byte in bytes { symbols.append(byteTokens[Int(byte)]) }
      } else if let unknown {
        if waiting != nil, !fusesUnknown { symbols.append(unknown) }
        waiting = unknown
      }
      index += length
    }
    if let unknown = waiting { symbols.append(unknown) }
  }
}
