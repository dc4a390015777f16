/// Why a chat template could not be read or rendered: a code and its facts.
public struct TemplateError: Error, Hashable, Sendable {
  /// The kind of error.
  public enum Code: String, Hashable, Sendable {
    case noTemplate = "no-template"
    case noNamedTemplate = "no-named-template"
    case invalidDocument = "invalid-document"
    case syntax = "syntax"
    case unsupportedTag = "unsupported-tag"
    case unsupportedFilter = "unsupported-filter"
    case unsupportedTest = "unsupported-test"
    case unsupportedMethod = "unsupported-method"
    case mutation = "mutation"
    case undefined = "undefined"
    case wrongType = "wrong-type"
    case invalidArguments = "invalid-arguments"
    case invalidValue = "invalid-value"
    case overflow = "overflow"
    case divisionByZero = "division-by-zero"
    case refused = "refused"
    case limit = "limit"
    case inconsistent = "inconsistent"
  }

  /// The kind of error.
  public let code: Code
  /// The template's file.
  public let path: String
  /// The line of the template; nil where there is none.
  public let line: Int?
  /// The tag, filter, test, method or variable it is about.
  public let name: String?
  /// What it had to be.
  public let expected: String?
  /// What it was.
  public let found: String?

  /// Makes an error of its facts.
  public init(
    _ code: Code, path: String, line: Int? = nil, name: String? = nil, expected: String? = nil,
    found: String? = nil
  ) {
    self.code = code
    self.path = path
    self.line = line
    self.name = name
    self.expected = expected
    self.found = found
  }
}
