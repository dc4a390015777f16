import Foundation
import LMoECore
import LMoERuntime
import Testing

/// Token for token what the library has, for the component graphs of every family.
@Suite struct TokenizerFixtureTests {
  @Test(arguments: TokenizerFixture.names) func `texts become the library's tokens`(name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    let texts = try TokenizerFixture.texts()
    let expected = try TokenizerFixture.json("\(name)/expected.json")
    let ids = try #require(expected["ids"]?.array)
    let plain = try #require((expected["plain"] ?? expected["ids"])?.array)
    try #require(ids.count == texts.count && plain.count == texts.count && texts.count > 150)
    for (index, text) in texts.enumerated() {
      #expect(
        tokenizer.encode(text, addingSpecialTokens: true) == (try TokenizerFixture.numbers(ids[index])),
        "\(name) \(index): \(text.debugDescription)")
      #expect(
        tokenizer.encode(text, addingSpecialTokens: false) == (try TokenizerFixture.numbers(plain[index])),
        "\(name) \(index): \(text.debugDescription)")
    }
  }

  @Test(arguments: TokenizerFixture.names) func `tokens become the library's texts`(name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    let texts = try TokenizerFixture.texts()
    let expected = try TokenizerFixture.json("\(name)/expected.json")
    let ids = try #require(expected["ids"]?.array).map(TokenizerFixture.numbers)
    let decoded = try #require(expected["decoded"]?.array)
    let skipped = try #require(expected["skipped"]?.array)
    for (index, numbers) in ids.enumerated() {
      let kept = decoded[index].string ?? texts[index]
      try expect(tokenizer, numbers, kept: kept, skipped: skipped[index].string ?? kept, "\(name) \(index)")
    }
    let sequences = try #require(expected["sequences"]?.array).map(TokenizerFixture.numbers)
    for (index, numbers) in sequences.enumerated() {
      try expect(
        tokenizer, numbers, kept: try #require(expected["texts"]?.array?[index].string),
        skipped: try #require(expected["skippedTexts"]?.array?[index].string), "\(name) sequence \(index)")
    }
  }

  /// At once and as a stream.
  private func expect(
    _ tokenizer: Tokenizer, _ numbers: [Int], kept: String, skipped: String, _ what: String
  ) throws {
    for (skips, text) in [(false, kept), (true, skipped)] {
      let decoded = tokenizer.decode(numbers, skippingSpecialTokens: skips)
      #expect(decoded.hasSameBytes(as: text), "\(what): \(decoded.debugDescription) \(text.debugDescription)")
      var stream = TokenStream(tokenizer, skippingSpecialTokens: skips)
      var streamed = ""
      for number in numbers { streamed += stream.append(number) }
      streamed += stream.finish()
      #expect(streamed.hasSameBytes(as: text), "\(what) streamed")
    }
  }

  @Test func `every form of a scalar is the library's`() throws {
    let expected = try TokenizerFixture.json("normal-forms.json")
    for (name, form) in [("nfc", "NFC"), ("nfd", "NFD")] {
      let tokenizer = try Self.normalizing(form)
      var lines: [UInt8] = []
      lines.reserveCapacity(6_000_000)
      for block in stride(from: UInt32(0), to: 0x110000, by: 0x4000) {
        let scalars = (block..<block + 0x4000).compactMap { Unicode.Scalar($0) }
        // A line of its own for each keeps them apart. The tokens of these tokenizers are bytes.
        let text = scalars.map { "\(String($0))\n" }.joined()
        lines += tokenizer.encode(text, addingSpecialTokens: false).map { UInt8($0) }
      }
      #expect(expected["\(name)OfScalars"]?.string == TokenizerFixture.checksum(lines), "\(name)")
    }
  }

  @Test func `marks come in the library's order`() throws {
    let texts = try #require(try TokenizerFixture.json("normal-forms.json")["texts"]?.array)
    let composing = try Self.normalizing("NFC")
    let decomposing = try Self.normalizing("NFD")
    for element in texts {
      let text = (element.array ?? []).compactMap(\.string)
      try #require(text.count == 3)
      for (tokenizer, form) in [(composing, text[1]), (decomposing, text[2])] {
        let bytes = tokenizer.encode(text[0], addingSpecialTokens: false).map { UInt8($0) }
        #expect(bytes == Array(form.utf8), "\(text[0].unicodeScalars.map { String($0.value, radix: 16) })")
      }
    }
  }

  /// A tokenizer whose tokens are the bytes of normalised text.
  private static func normalizing(_ form: String) throws -> Tokenizer {
    let vocabulary = (0..<256).map { byte in
      let hex = String(byte, radix: 16, uppercase: true)
      return ("<0x\(byte < 16 ? "0" : "")\(hex)>", JSON.integer(byte))
    }
    let json: JSON = [
      "normalizer": ["type": .string(form)],
      "model": [
        "type": "BPE", "byte_fallback": true, "vocab": .object(vocabulary), "merges": [],
      ],
    ]
    return try Tokenizer(json: Array(json.serialized().utf8), path: form)
  }
}
