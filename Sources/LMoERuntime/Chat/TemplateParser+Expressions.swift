/// Expressions, from the loosest operator to the tightest, as Jinja binds them.
extension TemplateParser {
  mutating func expression(conditional: Bool = true) throws(TemplateError) -> TemplateExpression {
    try enter()
    defer { depth -= 1 }
    var result = try disjunction()
    while conditional, atName("if") {
      let line = token.line
      advance()
      let test = try disjunction()
      let otherwise = skipName("else") ? try expression() : nil
      result = try node(
        .conditional(test: test, then: result, otherwise: otherwise), line,
        over: [test, result] + (otherwise.map { [$0] } ?? []))
    }
    return result
  }

  private mutating func disjunction() throws(TemplateError) -> TemplateExpression {
    var left = try conjunction()
    while atName("or") {
      let line = token.line
      advance()
      let right = try conjunction()
      left = try node(.or(left, right), line, over: [left, right])
    }
    return left
  }

  private mutating func conjunction() throws(TemplateError) -> TemplateExpression {
    var left = try negation()
    while atName("and") {
      let line = token.line
      advance()
      let right = try negation()
      left = try node(.and(left, right), line, over: [left, right])
    }
    return left
  }

  private mutating func negation() throws(TemplateError) -> TemplateExpression {
    guard atName("not") else { return try comparison() }
    let line = token.line
    advance()
    try enter()
    defer { depth -= 1 }
    let value = try negation()
    return try node(.not(value), line, over: [value])
  }

  private mutating func comparison() throws(TemplateError) -> TemplateExpression {
    let line = token.line
    let first = try binary(level: 0)
    var rest: [(operation: String, value: TemplateExpression)] = []
    while true {
      let operation: String
      if case .symbol(let symbol) = token.kind, ["==", "!=", "<", "<=", ">", ">="].contains(symbol) {
        operation = symbol
        advance()
      } else if atName("in") {
        operation = "in"
        advance()
      } else if atName("not"), position + 1 < tokens.count, tokens[position + 1].kind == .name("in") {
        operation = "not in"
        position += 2
      } else {
        break
      }
      rest.append((operation, try binary(level: 0)))
    }
    guard !rest.isEmpty else { return first }
    return try node(.comparison(first, rest), line, over: [first] + rest.map(\.value))
  }

  private static let levels: [Set<String>] = [["+", "-"], ["~"], ["*", "/", "//", "%"], ["**"]]

  private mutating func binary(level: Int) throws(TemplateError) -> TemplateExpression {
    guard level < Self.levels.count else { return try unary() }
    var left = try binary(level: level + 1)
    if level == 1 {
      guard at("~") else { return left }
      let line = token.line
      var parts = [left]
      while skip("~") { parts.append(try binary(level: level + 1)) }
      return try node(.concatenation(parts), line, over: parts)
    }
    while case .symbol(let symbol) = token.kind, Self.levels[level].contains(symbol) {
      let line = token.line
      advance()
      let right = try binary(level: level + 1)
      left = try node(.binary(left, symbol, right), line, over: [left, right])
    }
    return left
  }

  private mutating func unary(filtered: Bool = true) throws(TemplateError) -> TemplateExpression {
    let line = token.line
    var result: TemplateExpression
    if at("-") || at("+") {
      let isNegative = at("-")
      advance()
      try enter()
      defer { depth -= 1 }
      let value = try unary(filtered: false)
      result = try node(isNegative ? .negative(value) : .positive(value), line, over: [value])
    } else {
      result = try primary()
    }
    result = try postfix(result)
    return filtered ? try filters(result) : result
  }

  /// The argument of a test without parentheses.
  mutating func testArgument() throws(TemplateError) -> TemplateExpression { try postfix(try primary()) }

  private mutating func primary() throws(TemplateError) -> TemplateExpression {
    let line = token.line
    switch token.kind {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": return try node(.constant(.bool(true)), line)
      case "false", "False": return try node(.constant(.bool(false)), line)
      case "none", "None": return try node(.constant(.none), line)
      default:
        if ["varargs", "kwargs", "caller"].contains(name) { extras.insert(name) }
        return try node(.name(name), line)
      }
    case .string(var text):
      advance()
      while case .string(let more) = token.kind {
        text += more
        advance()
      }
      return try node(.constant(.string(text)), line)
    case .integer(let value):
      advance()
      return try node(.constant(.integer(value)), line)
    case .double(let value):
      advance()
      return try node(.constant(.double(value)), line)
    case .symbol("("):
      advance()
      let result = try tuple(isParenthesised: true)
      try expect(")")
      return result
    case .symbol("["):
      advance()
      let elements = try elements(until: "]")
      return try node(.list(elements), line, over: elements)
    case .symbol("{"): return try dictionary()
    default: throw unexpected("an expression")
    }
  }

  private mutating func elements(until end: String) throws(TemplateError) -> [TemplateExpression] {
    var elements: [TemplateExpression] = []
    while !at(end) {
      if !elements.isEmpty {
        try expect(",")
        if at(end) { break }
      }
      elements.append(try expression())
    }
    try expect(end)
    return elements
  }

  private mutating func dictionary() throws(TemplateError) -> TemplateExpression {
    let line = token.line
    try expect("{")
    var members: [(key: TemplateExpression, value: TemplateExpression)] = []
    while !at("}") {
      if !members.isEmpty {
        try expect(",")
        if at("}") { break }
      }
      let key = try expression()
      try expect(":")
      members.append((key, try expression()))
    }
    try expect("}")
    return try node(.dictionary(members), line, over: members.flatMap { [$0.key, $0.value] })
  }

  /// One expression, or several with commas between them.
  mutating func tuple(
    isParenthesised: Bool = false, conditional: Bool = true
  ) throws(TemplateError) -> TemplateExpression {
    let line = token.line
    var elements: [TemplateExpression] = []
    var isTuple = false
    while true {
      if !elements.isEmpty { try expect(",") }
      if at(")") || token.kind == .blockEnd || token.kind == .printEnd { break }
      elements.append(try expression(conditional: conditional))
      guard at(",") else { break }
      isTuple = true
    }
    if !isTuple {
      if let only = elements.first { return only }
      if !isParenthesised { throw unexpected("an expression") }
    }
    return try node(.tuple(elements), line, over: elements)
  }
}
