import LMoECore

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// How the next token is chosen among the logits.
public struct SamplingOptions: Hashable, Sendable {
  /// What logits are divided by; 0 always takes the largest.
  public var temperature: Double = 0.8
  /// Keep this many of the most likely tokens; nil for all.
  public var topK: Int?
  /// Keep the most likely tokens that together have this probability.
  public var topP: Double = 1
  /// Keep tokens that are at least this many times as likely as the most likely one.
  public var minP: Double = 0
  /// Positive logits of tokens that the text has already are divided by this, negative ones multiplied.
  public var repetitionPenalty: Double = 1
  /// Where the random numbers begin.
  public var seed: UInt64 = 0

  /// Options that change nothing but for the temperature.
  public init() {}

  /// Always the most likely token.
  public static let greedy: SamplingOptions = {
    var options = SamplingOptions()
    options.temperature = 0
    return options
  }()
}

/// Chooses tokens: penalty, temperature, top-k, top-p, min-p, in this order, as transformers does.
public struct Sampler: Sendable {
  /// How.
  public let options: SamplingOptions
  private var random: RandomSource

  /// Begins with the seed of `options`.
  public init(_ options: SamplingOptions) {
    self.options = options
    random = RandomSource(seed: options.seed)
  }

  /// A token and its logit on the way to a probability.
  private typealias Candidate = (token: Int, logit: Double)

  /// Chooses the token that follows.
  ///
  /// - Parameters:
  ///   - logits: One for each token of the vocabulary.
  ///   - text: The tokens so far, which the repetition penalty is about.
  public mutating func next(_ logits: Logits, after text: [Int]) -> Int {
    if options.temperature <= 0, options.repetitionPenalty == 1 { return logits.argmax }
    return next(logits.array, after: text)
  }

  /// The same of logits in an array.
  public mutating func next(_ logits: [Float], after text: [Int]) -> Int {
    var logits = logits
    if options.repetitionPenalty != 1 { penalise(&logits, text) }
    guard options.temperature > 0 else { return Self.argmax(logits) }
    var candidates = Self.largest(logits, options.topK ?? logits.count, temperature: options.temperature)
    let probabilities = Self.softmax(candidates)
    var kept = candidates.count
    if options.topP < 1 {
      // The first is always kept, and after it those before which less than top-p has been gathered.
      var sum = 0.0
      kept =
        probabilities.firstIndex { probability in
          defer { sum += probability }
          return sum >= options.topP && sum > 0
        } ?? kept
    }
    if options.minP > 0 {
      let least = probabilities[0] * options.minP
      kept = min(kept, max(1, probabilities.firstIndex { $0 < least } ?? kept))
    }
    candidates.removeLast(candidates.count - max(1, kept))
    return draw(candidates)
  }

  private func penalise(_ logits: inout [Float], _ text: [Int]) {
    let penalty = Float(options.repetitionPenalty)
    for token in Set(text) where logits.indices.contains(token) {
      logits[token] = logits[token] > 0 ? logits[token] / penalty : logits[token] * penalty
    }
  }

  private mutating func draw(_ candidates: [Candidate]) -> Int {
    var rest = random.uniform()
    for (candidate, probability) in zip(candidates, Self.softmax(candidates)) {
      rest -= probability
      if rest < 0 { return candidate.token }
    }
    return candidates[0].token
  }

  private static func argmax(_ logits: [Float]) -> Int {
    var best = 0
    for index in logits.indices where logits[index] > logits[best] { best = index }
    return best
  }

  /// The `count` largest, falling; of equal ones, the first token first.
  private static func largest(_ logits: [Float], _ count: Int, temperature: Double) -> [Candidate] {
    let k = max(1, min(count, logits.count))
    var indices = Array(logits.indices)
    if k < logits.count / 4 {
      // The k-th largest tells which can be left out before sorting.
      var bounds = Array(logits.prefix(k)).sorted(by: >)
      for logit in logits.dropFirst(k) where logit > bounds[k - 1] {
        var place = k - 1
        while place > 0, bounds[place - 1] < logit {
          bounds[place] = bounds[place - 1]
          place -= 1
        }
        bounds[place] = logit
      }
      indices = indices.filter { logits[$0] >= bounds[k - 1] }
    }
    indices.sort { logits[$0] > logits[$1] || (logits[$0] == logits[$1] && $0 < $1) }
    return indices.prefix(k).map { ($0, Double(logits[$0]) / temperature) }
  }

  /// Of falling logits.
  private static func softmax(_ candidates: [Candidate]) -> [Double] {
    let weights = candidates.map { exp($0.logit - candidates[0].logit) }
    let sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
  }
}
