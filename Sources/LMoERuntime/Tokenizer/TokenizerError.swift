/// Why a tokenizer was not taken: a code and its facts.
public struct TokenizerError: Error, Hashable, Sendable {
  /// The kind of error.
  public enum Code: String, Hashable, Sendable {
    case noTokenizer = "no-tokenizer"
    case invalidDocument = "invalid-document"
    case unsupportedModel = "unsupported-model"
    case unsupportedComponent = "unsupported-component"
    case unsupportedOption = "unsupported-option"
    case unsupportedPattern = "unsupported-pattern"
    case missingField = "missing-field"
    case invalidField = "invalid-field"
    case duplicateToken = "duplicate-token"
    case duplicateNumber = "duplicate-number"
    case numberOutOfRange = "number-out-of-range"
    case unknownToken = "unknown-token"
    case duplicateMerge = "duplicate-merge"
    case invalidMerge = "invalid-merge"
    case mismatchedToken = "mismatched-token"
    case numberWithoutToken = "number-without-token"
  }

  /// The kind of error.
  public let code: Code
  /// The bundle or file.
  public let path: String
  /// Where in the file: "pre_tokenizer", "model.merges".
  public let place: String?
  /// The token, component or option it is about.
  public let name: String?
  /// What it had to be.
  public let expected: String?
  /// What it was.
  public let found: String?

  /// Makes an error of its facts.
  public init(
    _ code: Code, path: String, place: String? = nil, name: String? = nil, expected: String? = nil,
    found: String? = nil
  ) {
    self.code = code
    self.path = path
    self.place = place
    self.name = name
    self.expected = expected
    self.found = found
  }
}
