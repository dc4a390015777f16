import Foundation
import LMoECore
import LMoERuntime

/// Training data in memory.
enum TrainingDataFixture {
  /// Byte-level, without special tokens of its own; `<|endoftext|>` is 0 and `<|im_end|>` is 2.
  static let tokenizer: Tokenizer = {
    let path = RuntimeFixture.path("embedded/base/tokenizer.json")
    do {
      return try Tokenizer(json: [UInt8](Data(contentsOf: URL(filePath: path))), path: path)
    } catch {
      fatalError("\(error)")
    }
  }()

  static func settings(
    _ context: Int = 64, between: Int? = nil, end: Int? = nil, long: LongDocuments = .split, seed: UInt64 = 1,
    isShuffled: Bool = true
  ) -> TrainingStream.Settings {
    var settings = TrainingStream.Settings(context: context)
    settings.between = between
    settings.end = end
    settings.long = long
    settings.seed = seed
    settings.isShuffled = isShuffled
    return settings
  }

  /// Lines that say their number, after a letter.
  static func numbered(_ letter: String, _ count: Int) -> [UInt8] {
    Array((0..<count).map { "{\"text\": \"\(letter)\($0)\"}\n" }.joined().utf8)
  }

  static func stream(
    _ files: [(path: String, bytes: [UInt8])], weights: [Double]? = nil,
    _ settings: TrainingStream.Settings = settings(), chat: ChatForm = .none
  ) throws -> TrainingStream {
    let system = SimulatedFileSystem(
      files: Dictionary(uniqueKeysWithValues: files.map { ($0.path, $0.bytes) }))
    return try TrainingStream(
      files.enumerated().map { index, file in
        TrainingSource(
          path: file.path, domain: file.path.split(separator: ".").first.map(String.init) ?? "",
          weight: weights?[index])
      }, settings: settings, tokenizer: tokenizer, chat: chat, files: system)
  }

  static func text(_ tokens: [Int]) -> String { tokenizer.decode(tokens, skippingSpecialTokens: false) }

  /// The texts of the next documents, each of which is one sequence.
  static func texts(_ stream: TrainingStream, _ count: Int) throws -> [String] {
    try (0..<count).map { _ in text(try stream.next(tokens: 1)[0].tokens) }
  }

  /// What of a sequence is to be predicted.
  static func targets(_ sequence: TrainingSequence) -> String {
    text(zip(sequence.tokens, sequence.isTarget).filter(\.1).map(\.0))
  }
}
