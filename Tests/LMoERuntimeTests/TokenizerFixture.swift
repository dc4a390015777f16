import Foundation
import LMoECore
import LMoERuntime
import Testing

/// What is in `fixtures/tokenizers`, written by the library the tokenizers come from.
enum TokenizerFixture {
  static let directory = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../fixtures/tokenizers").standardizedFileURL.path

  /// Real tokenizers and texts, which only some machines have.
  static let data = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../../shared/data").standardizedFileURL.path

  static let names = [
    "flags", "gpt2", "gpt2-spaced", "llama-2", "llama-3", "metaspace-always", "metaspace-never", "mistral-3",
    "nemo", "o200k", "qwen2", "qwen3", "smollm2", "splits", "tinyllama", "truncated",
  ]

  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(filePath: "\(directory)/\(name)")))
  }

  static func json(_ name: String) throws -> JSON { try JSON(parsing: try bytes(name)) }

  static func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer(json: try bytes("\(name)/tokenizer.json"), path: "\(name)/tokenizer.json")
  }

  static func texts() throws -> [String] {
    try #require(try json("texts.json").array).map { try #require($0.string) }
  }

  static func numbers(_ json: JSON) throws -> [Int] {
    try #require(json.array).map { try #require($0.int) }
  }

  /// As zlib has it.
  static func checksum(_ bytes: [UInt8]) -> String {
    var sum: UInt32 = .max
    for byte in bytes { sum = table[Int((sum ^ UInt32(byte)) & 0xFF)] ^ (sum >> 8) }
    let hex = String(~sum, radix: 16)
    return String(repeating: "0", count: 8 - hex.count) + hex
  }

  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
  }
}
