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

  fileprivate struct Text {
    let index: Int
    var tokens: [Int]
    let promptCount: Int
    let cache: KVCache
    var sampler: Sampler
  }

  /// Texts that have begun, as far as they are; they belong to the generator that began them.
  public struct Texts {
    fileprivate var active: [Text]
    fileprivate let context: Int
    fileprivate var isRead = false

    /// Whether all of them have ended.
    public var areEnded: Bool { active.isEmpty }
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
  /// - Throws: `RuntimeError` with `empty-prompt`, `prompt-too-long`, or what `Model.forward` or `take` throws.
  public func run(_ prompts: [[Int]], _ take: (Int, Event) throws -> Bool) throws {
    var texts = try begin(prompts, take)
    while !texts.areEnded { try advance(&texts, take) }
  }

  /// Begins texts, of which nothing is read yet.
  ///
  /// - Parameters:
  ///   - prompts: The tokens of each text.
  ///   - take: Called as by ``run(_:_:)``: here only for the ends of texts to which no token is to be added.
  /// - Throws: `RuntimeError` with `empty-prompt` or `prompt-too-long`, or what `take` throws.
  public func begin(_ prompts: [[Int]], _ take: (Int, Event) throws -> Bool) throws -> Texts {
    let context = options.context ?? model.configuration.maximumPositions
    for prompt in prompts {
      if prompt.isEmpty { throw RuntimeError(.emptyPrompt, path: model.base.bundle.path) }
      guard prompt.count <= context else {
        throw RuntimeError(
          .promptTooLong, path: model.base.bundle.path, expected: "\(context)", found: "\(prompt.count)")
      }
    }
    let active = prompts.enumerated().map { index, prompt in
      var sampling = options.sampling
      sampling.seed &+= UInt64(index) &* 0x9E37_79B9_7F4A_7C15
      return Text(
        index: index, tokens: prompt, promptCount: prompt.count,
        cache: model.makeCache(
          options.cache, capacity: min(context, prompt.count + min(options.tokens, Self.roomAtFirst))),
        sampler: Sampler(sampling))
    }
    measurement.promptTokens += prompts.reduce(0) { $0 + $1.count }
    guard options.tokens < 1 else { return Texts(active: active, context: context) }
    for text in active { _ = try take(text.index, .end(.length)) }
    return Texts(active: [], context: context)
  }

  /// Adds a token to each of the texts that have not ended, after reading the prompts if that is still to be done.
  ///
  /// - Parameters:
  ///   - texts: What ``begin(_:_:)`` made.
  ///   - take: Called as by ``run(_:_:)``.
  /// - Throws: What `Model.forward` or `take` throws.
  public func advance(_ texts: inout Texts, _ take: (Int, Event) throws -> Bool) throws {
    guard !texts.areEnded else { return }
    let start = monotonicNanoseconds()
    let segments = texts.active.map { Model.Segment(Array($0.tokens[$0.cache.count...]), $0.cache) }
    var next: [Int] = Array(repeating: 0, count: texts.active.count)
    try model.forward(segments, recorder: recorder) { output in
      next[output.segment] = texts.active[output.segment].sampler.next(
        output.logits, after: texts.active[output.segment].tokens)
    }
    let seconds = Double(monotonicNanoseconds() - start) * 1e-9
    if texts.isRead { measurement.seconds += seconds } else { measurement.promptSeconds += seconds }
    texts.isRead = true
    var rest: [Text] = []
    for (var text, token) in zip(texts.active, next) {
      measurement.tokens += 1
      text.tokens.append(token)
      if let end = try end(of: text, texts.context, take) {
        _ = try take(text.index, .end(end))
      } else {
        rest.append(text)
      }
    }
    texts.active = rest
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
