import Foundation
import LMoECore
import LMoERuntime
import Testing

/// Damaged and hostile files end in a sentence, never in a trap.
@Suite struct TokenizerDamageTests {
  /// A small whole tokenizer with something in every section.
  static let whole: JSON = [
    "version": "1.0", "truncation": nil, "padding": nil,
    "added_tokens": [
      [
        "id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": true,
        "normalized": false, "special": true,
      ],
      [
        "id": 6, "content": "new", "single_word": true, "lstrip": true, "rstrip": false,
        "normalized": true, "special": false,
      ],
    ],
    "normalizer": [
      "type": "Sequence",
      "normalizers": [
        ["type": "NFC"], ["type": "Prepend", "prepend": "▁"],
        ["type": "Replace", "pattern": ["String": " "], "content": "▁"],
        ["type": "Strip", "strip_left": true, "strip_right": false],
      ],
    ],
    "pre_tokenizer": [
      "type": "Sequence",
      "pretokenizers": [
        ["type": "Digits", "individual_digits": true],
        ["type": "Split", "pattern": ["String": "-"], "behavior": "MergedWithNext", "invert": false],
        ["type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true],
      ],
    ],
    "post_processor": [
      "type": "TemplateProcessing",
      "single": [["SpecialToken": ["id": "<s>", "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]]],
      "pair": [], "special_tokens": ["<s>": ["id": "<s>", "ids": [0], "tokens": ["<s>"]]],
    ],
    "decoder": [
      "type": "Sequence",
      "decoders": [
        ["type": "Replace", "pattern": ["String": "▁"], "content": " "], ["type": "ByteFallback"],
        ["type": "Fuse"], ["type": "Strip", "content": " ", "start": 1, "stop": 0],
      ],
    ],
    "model": [
      "type": "BPE", "dropout": nil, "unk_token": "<s>", "continuing_subword_prefix": nil,
      "end_of_word_suffix": nil, "fuse_unk": true, "byte_fallback": false, "ignore_merges": false,
      "vocab": ["<s>": 0, "▁": 1, "a": 2, "b": 3, "ab": 4, "▁ab": 5],
      "merges": [["a", "b"], "▁ ab"],
    ],
  ]

  private static func tokenizer(_ json: JSON) throws -> Tokenizer {
    try Tokenizer(json: Array(json.serialized().utf8), path: "t.json")
  }

  /// Reads it; what can be read must work, and what cannot must say so in one sentence.
  @discardableResult private static func tried(_ bytes: [UInt8]) -> TokenizerError? {
    do {
      let tokenizer = try Tokenizer(json: bytes, path: "t.json")
      for text in ["", "ab new-ab 12 <s>  é", "e\u{301}\u{0}▁▁ab"] {
        let numbers = tokenizer.encode(text, addingSpecialTokens: true)
        _ = tokenizer.decode(numbers + [-1, .max, 4], skippingSpecialTokens: true)
      }
      return nil
    } catch {
      #expect(error.description.hasPrefix("t.json"), "\(error)")
      #expect(!error.description.contains("\n") && !error.description.contains("?"), "\(error)")
      return error
    }
  }

  @Test func `the whole one works`() throws {
    let tokenizer = try Self.tokenizer(Self.whole)
    let numbers = tokenizer.encode("ab abx new", addingSpecialTokens: true)
    // "new" is not found: the normalizer has put another character before it, and it is a word only by itself.
    #expect(numbers == [0, 5, 5, 0, 1, 0])
    #expect(tokenizer.decode(numbers, skippingSpecialTokens: true) == "ab ab ")
    #expect(tokenizer.tokenCount == 7 && tokenizer.numberLimit == 7)
    #expect(tokenizer.token(5).map { String(decoding: $0, as: UTF8.self) } == "▁ab")
    #expect(tokenizer.number(of: "new") == 6 && tokenizer.number(of: "x") == nil)
    #expect(tokenizer.isSpecial(0) && !tokenizer.isSpecial(6))
    #expect(tokenizer.bytes(of: 5) == Array(" ab".utf8) && tokenizer.bytes(of: 99) == [])
  }

  /// Every value of a document, and how to put another in its place.
  private static func places(_ json: JSON) -> [(String, (JSON?) -> JSON)] {
    var result: [(String, (JSON?) -> JSON)] = []
    switch json {
    case .object(let object):
      for (key, value) in object.members {
        let replaced = { (new: JSON?) -> JSON in
          var object = object
          object[key] = new
          return .object(object)
        }
        result.append((key, replaced))
        result += places(value).map { place in
          (key + "." + place.0, { new in replaced(place.1(new)) })
        }
      }
    case .array(let elements):
      for index in elements.indices {
        let replaced = { (new: JSON?) -> JSON in
          var elements = elements
          if let new { elements[index] = new } else { elements.remove(at: index) }
          return .array(elements)
        }
        result.append(("\(index)", replaced))
        result += places(elements[index]).map { place in
          ("\(index)." + place.0, { new in replaced(place.1(new)) })
        }
      }
    default: break
    }
    return result
  }

  @Test func `any value in the place of any other`() {
    let values: [JSON?] = [
      nil, .null, true, -1, 3, .number(JSONNumber(text: "4294967296")), .number(JSONNumber(text: "1e99")),
      .number(JSONNumber(text: "18446744073709551616")), "", "x", "▁▁", [], [[]], .object([]),
      ["type": "BPE"],
      ["type": "Sequence"], ["id": "A"], ["String": ""], ["Regex": "("],
    ]
    for (place, replaced) in Self.places(Self.whole) {
      for value in values { Self.tried(Array(replaced(value).serialized().utf8)) }
      #expect(place.isEmpty == false)
    }
  }

  @Test func `cut off and changed at every byte`() {
    let bytes = Array(Self.whole.serialized().utf8)
    for count in 0..<bytes.count { #expect(Self.tried(Array(bytes[..<count])) != nil) }
    for index in bytes.indices {
      for byte: UInt8 in [0, 0x22, 0x30, 0x5B, 0x7D, 0xFF] {
        var changed = bytes
        changed[index] = byte
        Self.tried(changed)
      }
    }
  }

  /// A change, by its path, and what is said about it.
  struct Refusal: CustomTestStringConvertible, Sendable {
    let path: String
    let value: JSON?
    let code: TokenizerError.Code
    let words: [String]
    var testDescription: String { "\(path) \(code.rawValue)" }

    init(_ path: String, _ value: JSON?, _ code: TokenizerError.Code, _ words: String...) {
      (self.path, self.value, self.code, self.words) = (path, value, code, words)
    }
  }

  static let refusals: [Refusal] = [
    Refusal("model.type", "Unigram", .unsupportedModel, "Unigram", "BPE"),
    Refusal("model.type", "WordPiece", .unsupportedModel, "WordPiece"),
    Refusal("model", nil, .missingField, "model"),
    Refusal("model.vocab", nil, .missingField, "vocab"),
    Refusal("model.merges", nil, .missingField, "merges"),
    Refusal("model.dropout", .number(JSONNumber(text: "0.1")), .unsupportedOption, "dropout", "0.1"),
    Refusal("model.continuing_subword_prefix", "##", .unsupportedOption, "##"),
    Refusal("model.end_of_word_suffix", "</w>", .unsupportedOption, "</w>"),
    Refusal("model.unk_token", "nope", .unknownToken, "model.unk_token", "nope"),
    Refusal("model.byte_fallback", true, .unknownToken, "byte_fallback", "<0x00>"),
    Refusal("model.novelty", 1, .unsupportedOption, "novelty"),
    Refusal("model.vocab.a", 3, .duplicateNumber, "\"a\"", "\"b\"", "3"),
    Refusal("model.vocab.a", 1_000_000, .numberOutOfRange, "\"a\"", "1000000", "6 tokens"),
    Refusal("model.vocab.a", -2, .invalidField, "\"a\""),
    Refusal("model.merges", [["a", "c"]], .unknownToken, "merges[0]", "\"c\""),
    Refusal("model.merges", [["a", "b"], ["b", "a"]], .unknownToken, "merges[1]", "\"ba\""),
    Refusal("model.merges", [["a", "b"], ["a", "b"]], .duplicateMerge, "merges[1]", "\"ab\""),
    Refusal("model.merges", [["a", "b", "ab"]], .invalidMerge, "merges[0]", "3 tokens", "two tokens"),
    Refusal("model.merges", ["ab"], .invalidMerge, "1 tokens"),
    Refusal("model.merges", ["a b", "a b c"], .invalidMerge, "merges[1]", "3 tokens"),
    Refusal("model.merges", ["a  b"], .invalidMerge, "3 tokens"),
    Refusal("model.merges", ["a c"], .unknownToken, "merges[0]", "\"c\""),
    Refusal("model.merges", [" b"], .unknownToken, "merges[0]", "\"\""),
    Refusal("added_tokens.0.id", 9, .mismatchedToken, "<s>", "9", "0"),
    Refusal("added_tokens.1.id", 7, .mismatchedToken, "new", "7", "6"),
    Refusal("added_tokens.1.rstrip", nil, .invalidField, "rstrip"),
    Refusal("normalizer.type", "NFKC", .unsupportedComponent, "normalizer", "NFKC"),
    Refusal("normalizer.normalizers.0.type", "Precompiled", .unsupportedComponent, "normalizers[0]"),
    Refusal("normalizer.normalizers.2.pattern", ["Regex": " +"], .unsupportedPattern, "\" +\""),
    Refusal("normalizer.normalizers.2.extra", 1, .unsupportedOption, "extra"),
    Refusal("pre_tokenizer.type", "BertPreTokenizer", .unsupportedComponent, "BertPreTokenizer"),
    Refusal("pre_tokenizer.pretokenizers.1.pattern", ["Regex": "[a-z]+"], .unsupportedPattern, "[a-z]+"),
    Refusal("pre_tokenizer.pretokenizers.1.behavior", "Sideways", .unsupportedOption, "Sideways"),
    Refusal(
      "pre_tokenizer.pretokenizers.0", ["type": "ByteLevel", "add_prefix_space": false],
      .unsupportedComponent, "after ByteLevel"),
    Refusal("pre_tokenizer.pretokenizers.2.add_prefix_space", false, .invalidField, "add_prefix_space"),
    Refusal("post_processor.type", "BertProcessing", .unsupportedComponent, "BertProcessing"),
    Refusal("post_processor.special_tokens", .object([]), .invalidField, "<s>"),
    Refusal("post_processor.special_tokens.<s>.ids", [77], .unknownToken, "77"),
    Refusal("post_processor.single", [], .missingField, "single"),
    Refusal("decoder.type", "WordPiece", .unsupportedComponent, "decoder", "WordPiece"),
    Refusal("decoder.decoders.3", ["type": "ByteFallback"], .unsupportedComponent, "ByteFallback"),
    Refusal("decoder.decoders.0.pattern", ["Regex": "^ "], .unsupportedPattern, "^ "),
    Refusal("novelty", true, .unsupportedComponent, "novelty"),
  ]

  @Test(arguments: refusals) func `refused by name`(refusal: Refusal) throws {
    let error = try #require(Self.tried(Array(Self.changed(refusal).serialized().utf8)))
    #expect(error.code == refusal.code, "\(error)")
    for word in refusal.words { #expect(error.description.contains(word), "\(error)") }
  }

  private static func changed(_ refusal: Refusal) -> JSON {
    func change(_ json: JSON, _ path: ArraySlice<Substring>) -> JSON {
      guard let key = path.first else { return refusal.value ?? .null }
      let isLast = path.count == 1
      switch json {
      case .object(var object):
        let new = isLast ? refusal.value : change(object[String(key)] ?? .null, path.dropFirst())
        object[String(key)] = new
        return .object(object)
      case .array(var elements):
        guard let index = Int(key) else { return json }
        elements[index] = change(elements[index], path.dropFirst())
        return .array(elements)
      default: return json
      }
    }
    return change(whole, refusal.path.split(separator: ".")[...])
  }

  @Test func `a token twice`() {
    let text = Self.whole.serialized().replacingOccurrences(of: "\"ab\":4", with: "\"ab\":4,\"\\u0061b\":7")
    let error = Self.tried(Array(text.utf8))
    #expect(error?.code == .duplicateToken && error?.description.contains("\"ab\"") == true)
  }

  @Test func `invalid UTF-8`() {
    var bytes = Array(Self.whole.serialized().utf8)
    let place = bytes.firstIndex(of: UInt8(ascii: "b")) ?? 0
    bytes[place] = 0xC3
    #expect(Self.tried(bytes)?.code == .invalidDocument)
  }

  @Test func `text that is not UTF-8`() throws {
    let tokenizer = try TokenizerFixture.tokenizer("gpt2")
    let bytes: [UInt8] = [0x61, 0xFF, 0xE2, 0x82, 0x62, 0xC0, 0x80, 0xF0, 0x9F]
    let repaired = String(decoding: bytes, as: UTF8.self)
    #expect(
      tokenizer.encode(utf8: bytes, addingSpecialTokens: false)
        == tokenizer.encode(repaired, addingSpecialTokens: false))
  }

  @Test func `a megabyte of one letter`() throws {
    let count = 1 << 20
    for name in ["gpt2", "llama-2"] {
      let tokenizer = try TokenizerFixture.tokenizer(name)
      let clock = ContinuousClock()
      let text = String(repeating: "a", count: count)
      var numbers: [Int] = []
      let time = clock.measure { numbers = tokenizer.encode(text, addingSpecialTokens: false) }
      #expect(tokenizer.decode(numbers, skippingSpecialTokens: false) == text)
      // A quadratic algorithm would take hours.
      #expect(time < .seconds(20), "\(time)")
    }
  }
}
