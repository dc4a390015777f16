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

  /// Tokens that go through the model together.
  private static let batch = 2048

  /// Scores samples.
  ///
  /// A sample longer than `context` is scored in parts, each from its own beginning.
  ///
  /// - Parameters:
  ///   - recorder: Takes down what the gates decide.
  ///   - progress: Called with the number of tokens that went through.
  /// - Throws: What `Model.forward` throws.
  public static func of(
    _ samples: [Sample], by model: Model, context: Int, recorder: RoutingRecorder? = nil,
    progress: (Int) -> Void = { _ in }
  ) throws -> Evaluation {
    var result = Evaluation()
    var parts: [(tokens: [Int], isTarget: [Bool])] = []
    for sample in samples {
      result.bytes += sample.bytes
      parts += sample.parts(context: context)
    }
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
      try model.forward(segments, wanting: .all, recorder: recorder) { output in
        let part = group[next + output.segment]
        guard output.position + 1 < part.tokens.count, part.isTarget[output.position + 1] else { return }
        sum.add(output.logits.negativeLogLikelihood(of: part.tokens[output.position + 1]))
      }
      result.add(sum)
      progress(count)
      next = end
    }
    return result
  }
}
