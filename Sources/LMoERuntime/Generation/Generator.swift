import LMoECore
import LMoEExperts
import LMoEFormat

/// Continues texts token by token, several at a time.
public final class Generator {
  /// Why a text ended.
  public enum End: String, Hashable, Sendable {
    /// The model ended it.
    case endOfText = "end-of-text"
    /// It has as many tokens as were asked for.
    case length
    /// The context is full.
    case context
    /// Whoever takes the tokens asked for it.
    case stopped
  }

  /// What happens to a text.
  public enum Event {
    /// It gains a token. To end it, return false.
    case token(Int)
    /// It has ended.
    case end(End)
  }

  /// How texts are continued.
  public struct Options: Sendable {
    /// How tokens are chosen; each text has its own random numbers, from the seed and its number.
    public var sampling = SamplingOptions()
    /// The most tokens to add to a text.
    public var tokens = 128
    /// Tokens that end a text.
    public var endTokens: Set<Int> = []
    /// How keys and values are kept.
    public var cache = KVCache.Precision.f32
    /// The longest text; nil for the context that the model was made for.
    public var context: Int?

    /// The usual ones.
    public init() {}
  }

  /// What was done and how long it took.
  public struct Measurement: Sendable {
    /// Tokens of prompts.
    public var promptTokens = 0
    /// Tokens added.
    public var tokens = 0
    /// Seconds until the prompts were read and the first tokens there.
    public var promptSeconds = 0.0
    /// Seconds for all tokens after the first ones.
    public var seconds = 0.0
  }

  private struct Text {
    let index: Int
    var tokens: [Int]
    let promptCount: Int
    let cache: KVCache
    var sampler: Sampler
  }

  /// Tokens that there is room for at first beyond the prompt.
  private static let roomAtFirst = 512

  private let model: Model
  private let options: Options
  /// What was done so far.
  public private(set) var measurement = Measurement()
  /// Takes down what the gates decide, if set.
  public var recorder: RoutingRecorder?

  /// Continues texts with `model`.
  public init(_ model: Model, _ options: Options) { (self.model, self.options) = (model, options) }

  /// Continues each prompt until it ends.
  ///
  /// - Parameters:
  ///   - prompts: The tokens of each text.
  ///   - take: Called with the number of the text for each event; returning false after a token ends the text.
  /// - Throws: `RuntimeError` with `empty-prompt`, `prompt-too-long`, or what `Model.forward` throws.
  public func run(_ prompts: [[Int]], _ take: (Int, Event) throws -> Bool) throws {
    let context = options.context ?? model.configuration.maximumPositions
    for prompt in prompts {
      if prompt.isEmpty { throw RuntimeError(.emptyPrompt, path: model.base.bundle.path) }
      guard prompt.count <= context else {
        throw RuntimeError(
          .promptTooLong, path: model.base.bundle.path, expected: "\(context)", found: "\(prompt.count)")
      }
    }
    var active = prompts.enumerated().map { index, prompt in
      var sampling = options.sampling
      sampling.seed &+= UInt64(index) &* 0x9E37_79B9_7F4A_7C15
      return Text(
        index: index, tokens: prompt, promptCount: prompt.count,
        cache: model.makeCache(
          options.cache, capacity: min(context, prompt.count + min(options.tokens, Self.roomAtFirst))),
        sampler: Sampler(sampling))
    }
    measurement.promptTokens += prompts.reduce(0) { $0 + $1.count }
    if options.tokens < 1 {
      for text in active { _ = try take(text.index, .end(.length)) }
      active = []
    }
    var isFirst = true
    while !active.isEmpty {
      let start = monotonicNanoseconds()
      let segments = active.map { Model.Segment(Array($0.tokens[$0.cache.count...]), $0.cache) }
      var next: [Int] = Array(repeating: 0, count: active.count)
      try model.forward(segments, recorder: recorder) { output in
        next[output.segment] = active[output.segment].sampler.next(
          output.logits, after: active[output.segment].tokens)
      }
      let seconds = Double(monotonicNanoseconds() - start) * 1e-9
      if isFirst { measurement.promptSeconds += seconds } else { measurement.seconds += seconds }
      isFirst = false
      var rest: [Text] = []
      for (var text, token) in zip(active, next) {
        measurement.tokens += 1
        text.tokens.append(token)
        if let end = try end(of: text, context, take) {
          _ = try take(text.index, .end(end))
        } else {
          rest.append(text)
        }
      }
      active = rest
    }
  }

  /// Hands the last token on, and says whether and why the text ends.
  private func end(of text: Text, _ context: Int, _ take: (Int, Event) throws -> Bool) throws -> End? {
    let token = text.tokens[text.tokens.count - 1]
    if options.endTokens.contains(token) { return .endOfText }
    guard try take(text.index, .token(token)) else { return .stopped }
    if text.tokens.count - text.promptCount >= options.tokens { return .length }
    return text.tokens.count >= context ? .context : nil
  }
}
