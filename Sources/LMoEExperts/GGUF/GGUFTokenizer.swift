import LMoECore
import LMoEFormat

/// A tokenizer as GGUF files have it: made of a `tokenizer.json`.
struct GGUFTokenizer {
  /// What a token is, by llama.cpp's numbers.
  enum TokenType: Int32 {
    case normal = 1
    case unknown
    case control
    case userDefined
    case unused
    case byte
  }

  let parts: TokenizerParts
  /// Number of tokens of the model; those that the tokenizer lacks are filled up.
  private let count: Int
  private let path: String
  /// What the user should know.
  private(set) var notes: [String] = []
  /// Everything but special tokens.
  private(set) var keys: [(key: String, value: GGUFValue)] = []

  private static let mark = "\u{2581}"
  private static let prefix = "tokenizer.ggml."

  /// Makes the keys of a tokenizer.
  ///
  /// - Parameters:
  ///   - parts: The tokenizer.
  ///   - count: Rows of the model's embedding.
  ///   - path: What errors call it.
  /// - Throws: `ExpertError` with `not-exportable` if llama.cpp would make other tokens.
  init(_ parts: TokenizerParts, count: Int, path: String) throws {
    (self.parts, self.count, self.path) = (parts, count, path)
    if parts.added.contains(where: \.hasFlags) {
      notes.append("llama.cpp does not know tokens that take white space along; it leaves the white space")
    }
    let (texts, types) = try tokens()
    func add(_ key: String, _ value: GGUFValue) { keys.append((Self.prefix + key, value)) }
    if isByteLevel {
      guard let kind = GGUFPreTokenizer(parts.preTokenizer, ignoresMerges: parts.ignoresMerges) else {
        throw refused("llama.cpp splits text in none of the ways that its pre_tokenizer does")
      }
      if parts.normalizer["type"]?.string == "NFC" {
        notes.append(
          "llama.cpp does not bring text into its composed form (NFC) first, as the tokenizer does")
      } else if !parts.normalizer.isNull {
        throw refused("llama.cpp has no normalizer \(parts.normalizer["type"]?.string ?? "of that kind")")
      }
      guard parts.hasByteAlphabet else { throw refused("llama.cpp needs a token for every byte") }
      add("model", .string("gpt2"))
      add("pre", .string(kind.name))
      add("tokens", .strings(texts))
      add("merges", .strings(parts.merges.map { $0.left + " " + $0.right }))
    } else {
      let addsSpace = try addsSpace()
      add("model", .string("llama"))
      add("pre", .string("default"))
      add("tokens", .strings(texts))
      add("scores", .array(.f32, try scores(texts, types).map(GGUFValue.f32)))
      add("add_space_prefix", .bool(addsSpace))
    }
    add("token_type", .array(.i32, types.map { .i32($0.rawValue) }))
  }

  private var isByteLevel: Bool {
    let last = parts.preTokenizer["pretokenizers"]?.array?.last ?? parts.preTokenizer
    return last["type"]?.string == "ByteLevel"
  }

  func refused(_ why: String) -> ExpertError {
    ExpertError(
      .notExportable, path: path, name: "tokenizer.json", found: why + "; leave it out with --no-tokenizer")
  }

  /// Text and type of every token by its number.
  private func tokens() throws -> (texts: [String], types: [TokenType]) {
    var texts = [String?](repeating: nil, count: count)
    var types = [TokenType](repeating: .unused, count: count)
    for (text, number) in parts.vocabulary where (0..<count).contains(number) {
      texts[number] = text
      types[number] = .normal
      if !isByteLevel, text.isByteToken { types[number] = .byte }
      if let unknown = parts.unknown, unknown.hasSameBytes(as: text) { types[number] = .unknown }
    }
    for token in parts.added where (0..<count).contains(token.number) {
      texts[token.number] = token.text
      let isUnknown = types[token.number] == .unknown
      types[token.number] = isUnknown && !isByteLevel ? .unknown : token.isSpecial ? .control : .userDefined
    }
    var seen: Set<ByteKey> = []
    for (number, text) in texts.enumerated() {
      let name = text ?? "[PAD\(number)]"
      guard seen.insert(ByteKey(name)).inserted else {
        throw refused("two tokens have the text \"\(name.shortened)\"")
      }
      texts[number] = name
    }
    let beyond = parts.vocabulary.map(\.number) + parts.added.map(\.number)
    if let last = beyond.max(), last >= count {
      throw refused("it has a token with the number \(last), and the model has \(count)")
    }
    return (texts.compactMap(\.self), types)
  }

  /// Whether a space is put in front of text.
  private mutating func addsSpace() throws -> Bool {
    guard parts.hasByteFallback, Set(parts.vocabulary.compactMap(\.text.byteToken)).count == 256 else {
      throw refused("llama.cpp needs a token for every byte of such a tokenizer")
    }
    let steps = parts.normalizer["normalizers"]?.array ?? (parts.normalizer.isNull ? [] : [parts.normalizer])
    let splitter = parts.preTokenizer
    if splitter.isNull {
      var addsSpace = false
      var replaces = false
      for step in steps {
        if step["type"]?.string == "Prepend", step["prepend"]?.string == Self.mark, !replaces {
          addsSpace = true
        } else if step["type"]?.string == "Replace", step["pattern"]?["String"]?.string == " ",
          step["content"]?.string == Self.mark
        {
          replaces = true
        } else {
          throw refused("llama.cpp has no normalizer \(step["type"]?.string ?? "of that kind")")
        }
      }
      guard replaces else { throw refused("it does not write spaces as \(Self.mark)") }
      return addsSpace
    }
    guard splitter["type"]?.string == "Metaspace", steps.isEmpty,
      splitter["replacement"]?.string == Self.mark
    else { throw refused("llama.cpp splits text in none of the ways that its pre_tokenizer does") }
    if splitter["split"]?.bool ?? true, parts.vocabulary.contains(where: { $0.text.hasInnerMark }) {
      throw refused("llama.cpp does not split text at spaces, and there are tokens with spaces inside")
    }
    let scheme =
      splitter["prepend_scheme"]?.string ?? (splitter["add_prefix_space"]?.bool ?? true ? "always" : "never")
    if scheme == "never" { return false }
    notes.append(
      scheme == "first"
        ? "llama.cpp puts a space in front of text after every special token, and of text that begins with one"
        : "llama.cpp puts a space in front of text that begins with one, too")
    return true
  }
}

extension TokenizerParts {
  /// Whether every byte is a token, by the character that stands for it in byte-level vocabularies.
  fileprivate var hasByteAlphabet: Bool {
    let singles = Set(
      vocabulary.compactMap { $0.text.unicodeScalars.count == 1 ? $0.text.unicodeScalars.first : nil })
    // What can be seen stands for itself, the others for 256 and on.
    let plain = Array(0x21...0x7E) + Array(0xA1...0xAC) + Array(0xAE...0xFF)
    let alphabet = plain + (256..<256 + 256 - plain.count)
    return alphabet.allSatisfy { code in Unicode.Scalar(UInt32(code)).map { singles.contains($0) } ?? false }
  }
}

extension String {
  /// Whether the text is that of a token for a byte: `<0x0A>`.
  var isByteToken: Bool { byteToken != nil }

  /// The byte that a token like `<0x0A>` stands for.
  var byteToken: Int? {
    let bytes = Array(utf8)
    guard bytes.count == 6, bytes.starts(with: "<0x".utf8), bytes[5] == UInt8(ascii: ">") else { return nil }
    let digits = String(decoding: bytes[3..<5], as: UTF8.self)
    guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x41...0x46).contains($0) }) else {
      return nil
    }
    return Int(digits, radix: 16)
  }

  /// Whether the mark for a space stands somewhere but at the beginning.
  fileprivate var hasInnerMark: Bool {
    let mark = Array("\u{2581}".utf8)
    let bytes = Array(utf8)
    guard bytes.count > mark.count else { return false }
    return (1...(bytes.count - mark.count)).contains { bytes[$0..<$0 + mark.count].elementsEqual(mark) }
  }
}
