/// Why a model could not be loaded or run: a code and its facts.
public struct RuntimeError: Error, Hashable, Sendable {
  /// The kind of error.
  public enum Code: String, Hashable, Sendable {
    case emptyPrompt = "empty-prompt"
    case promptTooLong = "prompt-too-long"
    case tokenOutOfRange = "token-out-of-range"
    case nonFinite = "non-finite"
    case notMixable = "not-mixable"
    case noSuchExpert = "no-such-expert"
    case noSuchGate = "no-such-gate"
    case noExperts = "no-experts"
    case unsupportedGate = "unsupported-gate"
    case invalidGate = "invalid-gate"
    case invalidExpert = "invalid-expert"
    case unsupportedType = "unsupported-type"
    case invalidData = "invalid-data"
    case untrainable
    case diverged
  }

  /// The kind of error.
  public let code: Code
  /// The bundle or file.
  public let path: String
  /// The expert, gate or tensor it is about.
  public let name: String?
  /// What it had to be.
  public let expected: String?
  /// What it was.
  public let found: String?

  /// Makes an error of its facts.
  public init(
    _ code: Code, path: String, name: String? = nil, expected: String? = nil, found: String? = nil
  ) {
    self.code = code
    self.path = path
    self.name = name
    self.expected = expected
    self.found = found
  }
}
