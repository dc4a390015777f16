/// Tokens to learn from, which go through the model together.
public struct TrainingSequence: Hashable, Sendable {
  /// The tokens.
  public let tokens: [Int]
  /// Whether each token is to be predicted; the first one never is, the last one always.
  public let isTarget: [Bool]
  /// What kind of text it is.
  public let domain: String

  /// Makes a sequence.
  public init(tokens: [Int], isTarget: [Bool], domain: String) {
    self.tokens = tokens
    self.isTarget = isTarget
    self.domain = domain
  }

  /// How many tokens are to be predicted.
  public var targetCount: Int { isTarget.reduce(0) { $0 + ($1 ? 1 : 0) } }
}
