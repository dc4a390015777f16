import Foundation
import LMoECore
import LMoERuntime
import Testing

/// Whole files with tokenizers of real models, where these are beside the checkout.
@Suite(.enabled(if: FileManager.default.fileExists(atPath: TokenizerFixture.data)))
struct TokenizerDataTests {
  private func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(filePath: "\(TokenizerFixture.data)/\(name)")))
  }

  private func check(_ tokenizer: Tokenizer, _ name: String) throws {
    let expected = try #require(try TokenizerFixture.json("data.json")[name]?.object)
    try #require(!expected.members.isEmpty)
    for (file, sums) in expected.members {
      let numbers = tokenizer.encode(utf8: try bytes("text/" + file), addingSpecialTokens: true)
      #expect(numbers.count == sums["count"]?.int, "\(file)")
      let words = numbers.flatMap { number in (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) } }
      #expect(TokenizerFixture.checksum(words) == sums["crc32"]?.string, "\(file)")
    }
  }

  @Test func `a small Llama's tokens`() throws {
    let path = "stories260K/tokenizer.json"
    try check(try Tokenizer(json: try bytes(path), path: path), "stories260K")
  }

  @Test func `GPT-2's tokens`() throws {
    // The file as it would be made of the two.
    let vocabulary = String(decoding: try bytes("gpt2-tokenizer/gpt2_vocab.json"), as: UTF8.self)
    let merges = String(decoding: try bytes("gpt2-tokenizer/gpt2_merges.txt"), as: UTF8.self)
      .split(separator: "\n").dropFirst().map { JSON.string(String($0)).serialized() }
    let json = """
      {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
       "decoder": {"type": "ByteLevel"},
       "model": {"type": "BPE", "vocab": \(vocabulary), "merges": [\(merges.joined(separator: ","))]}}
      """
    try check(try Tokenizer(json: Array(json.utf8), path: "gpt2"), "gpt2")
  }
}
