/// Builds the statements of a template from its tokens.
struct TemplateParser {
  let tokens: [TemplateToken]
  let path: String
  var position = 0
  var depth = 0
  /// Names of which macros keep account, mentioned since the macro began.
  var extras: Set<String> = []
  var loops = 0

  static let maximumDepth = 200

  /// The statements of `source`.
  static func parse(_ source: String, path: String) throws(TemplateError) -> [TemplateStatement] {
    var parser = TemplateParser(tokens: try TemplateLexer.tokens(of: source, path: path), path: path)
    return try parser.body(until: [])
  }

  init(tokens: [TemplateToken], path: String) {
    self.tokens = tokens
    self.path = path
  }

  /// The token to be read next; the last one is the end.
  var token: TemplateToken { tokens[min(position, tokens.count - 1)] }

  mutating func advance() { position += 1 }

  func at(_ symbol: String) -> Bool { token.kind == .symbol(symbol) }

  func atName(_ name: String) -> Bool { token.kind == .name(name) }

  mutating func skip(_ symbol: String) -> Bool {
    guard at(symbol) else { return false }
    advance()
    return true
  }

  mutating func skipName(_ name: String) -> Bool {
    guard atName(name) else { return false }
    advance()
    return true
  }

  mutating func expect(_ symbol: String) throws(TemplateError) {
    guard skip(symbol) else { throw unexpected("\"\(symbol)\"") }
  }

  mutating func expectName() throws(TemplateError) -> String {
    guard case .name(let name) = token.kind else { throw unexpected("a name") }
    advance()
    return name
  }

  mutating func expectEnd() throws(TemplateError) {
    guard token.kind == .blockEnd else { throw unexpected("\"%}\"") }
    advance()
  }

  func unexpected(_ expected: String) -> TemplateError {
    TemplateError(.syntax, path: path, line: token.line, expected: expected, found: token.description)
  }

  func tooDeep(line: Int) -> TemplateError {
    TemplateError(.limit, path: path, line: line, expected: "\(Self.maximumDepth) levels of nesting")
  }

  mutating func enter() throws(TemplateError) {
    depth += 1
    if depth > Self.maximumDepth { throw tooDeep(line: token.line) }
  }

  /// Makes an expression over others, unless it is too deep to be walked through.
  func node(
    _ kind: TemplateExpression.Kind, _ line: Int, over children: [TemplateExpression] = []
  ) throws(TemplateError) -> TemplateExpression {
    var depth = 0
    for child in children { depth = max(depth, child.depth) }
    if depth >= Self.maximumDepth { throw tooDeep(line: line) }
    return TemplateExpression(kind: kind, line: line, depth: depth + 1)
  }
}
