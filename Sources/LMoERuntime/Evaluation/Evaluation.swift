import LMoECore
import LMoEExperts

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// What a model pays for texts.
public struct Evaluation: Hashable, Sendable {
  /// Tokens that were scored.
  public private(set) var tokens = 0
  /// Bytes of the texts that were scored.
  public private(set) var bytes = 0
  /// Σ −log p of the tokens, in nats.
  public private(set) var nats = 0.0

  /// Of nothing.
  public init() {}

  /// Adds what another one counted.
  public mutating func add(_ other: Evaluation) {
    tokens += other.tokens
    bytes += other.bytes
    nats += other.nats
  }

  mutating func add(_ nats: Double) {
    tokens += 1
    self.nats += nats
  }

  /// Mean −log p of a token, in nats.
  public var natsPerToken: Double { tokens > 0 ? nats / Double(tokens) : .nan }
  /// exp(nats per token).
  public var perplexity: Double { exp(natsPerToken) }
  /// Bits for each byte of text, which models with different tokenizers have in common.
  public var bitsPerByte: Double { bytes > 0 ? nats / log(2) / Double(bytes) : .nan }

  /// A document as tokens.
  public struct Sample: Hashable, Sendable {
    /// The tokens.
    public let tokens: [Int]
    /// The first token that is scored; the very first one never is, for nothing comes before it.
    public let start: Int
    /// Bytes of what is scored.
    public let bytes: Int
  }

  /// Turns a document into tokens.
  ///
  /// - Parameters:
  ///   - document: The document.
  ///   - tokenizer: The model's; it adds the special tokens that it always adds.
  ///   - boundary: A token to put before and after it.
  public static func sample(_ document: TextDocument, _ tokenizer: Tokenizer, boundary: Int?) -> Sample {
    let edge = boundary.map { [$0] } ?? []
    let whole =
      edge + tokenizer.encode(utf8: document.prompt + document.text, addingSpecialTokens: true) + edge
    guard !document.prompt.isEmpty else {
      return Sample(tokens: whole, start: 1, bytes: document.text.count)
    }
    // A token across the seam is scored: it is of the completion in part.
    let prompt = edge + tokenizer.encode(utf8: document.prompt, addingSpecialTokens: true)
    let common = zip(prompt, whole).prefix { $0 == $1 }.count
    return Sample(tokens: whole, start: max(1, common), bytes: document.text.count)
  }

  /// Tokens that go through the model together.
  private static let batch = 2048

  /// Scores samples.
  ///
  /// A sample longer than `context` is scored in parts, each from its own beginning.
  ///
  /// - Parameters:
  ///   - progress: Called with the number of tokens that went through.
  /// - Throws: What `Model.forward` throws.
  public static func of(
    _ samples: [Sample], by model: Model, context: Int, progress: (Int) -> Void = { _ in }
  ) throws -> Evaluation {
    var result = Evaluation()
    var parts: [(tokens: [Int], start: Int)] = []
    for sample in samples {
      result.bytes += sample.bytes
      for first in stride(from: 0, to: sample.tokens.count, by: context) {
        let part = Array(sample.tokens[first..<min(first + context, sample.tokens.count)])
        parts.append((part, max(1, sample.start - first)))
      }
    }
    parts.removeAll { $0.tokens.count <= $0.start }
    var next = 0
    while next < parts.count {
      var end = next
      var count = 0
      while end < parts.count, end == next || count + parts[end].tokens.count <= batch {
        count += parts[end].tokens.count
        end += 1
      }
      let group = parts[next..<end]
      let segments = group.map {
        Model.Segment($0.tokens.dropLast(), model.makeCache(capacity: $0.tokens.count))
      }
      var sum = Evaluation()
      try model.forward(segments, wanting: .all) { output in
        let part = group[next + output.segment]
        guard output.position + 1 >= part.start else { return }
        sum.add(output.logits.negativeLogLikelihood(of: part.tokens[output.position + 1]))
      }
      result.add(sum)
      progress(count)
      next = end
    }
    return result
  }
}
