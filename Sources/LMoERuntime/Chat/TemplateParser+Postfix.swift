/// What follows an expression: attributes, indices, calls, filters and tests.
extension TemplateParser {
  mutating func postfix(_ start: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    var result = start
    while true {
      let line = token.line
      if skip(".") {
        switch token.kind {
        case .name(let name):
          advance()
          result = try node(.attribute(result, name), line, over: [result])
        case .integer(let index):
          advance()
          let index = try node(.constant(.integer(index)), line)
          result = try node(.item(result, index), line, over: [result])
        default: throw unexpected("a name")
        }
      } else if at("[") {
        result = try subscripted(result)
      } else if at("(") {
        result = try called(result)
      } else {
        return result
      }
    }
  }

  private mutating func called(_ function: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    let line = token.line
    let arguments = try arguments()
    return try node(.call(function, arguments), line, over: [function] + arguments.all)
  }

  private mutating func subscripted(_ value: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    let line = token.line
    try expect("[")
    func bound(_ parser: inout TemplateParser) throws(TemplateError) -> TemplateExpression? {
      parser.at(":") || parser.at("]") || parser.at(",") ? nil : try parser.expression()
    }
    let first = try bound(&self)
    guard skip(":") else {
      guard let first else { throw unexpected("an expression") }
      var elements = [first]
      while skip(","), !at("]") { elements.append(try expression()) }
      try expect("]")
      let index = elements.count == 1 ? first : try node(.tuple(elements), line, over: elements)
      return try node(.item(value, index), line, over: [value, index])
    }
    let last = try bound(&self)
    let step = skip(":") ? try bound(&self) : nil
    try expect("]")
    return try node(
      .slice(value, first, last, step), line, over: [value] + [first, last, step].compactMap { $0 })
  }

  mutating func filters(_ start: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    var result = start
    while true {
      if at("|") {
        result = try filter(over: result)
      } else if atName("is") {
        result = try test(result)
      } else if at("(") {
        result = try called(result)
      } else {
        return result
      }
    }
  }

  private mutating func filter(over value: TemplateExpression?) throws(TemplateError) -> TemplateExpression {
    let line = token.line
    try expect("|")
    return try namedFilter(over: value, line)
  }

  private mutating func namedFilter(
    over value: TemplateExpression?, _ line: Int
  ) throws(TemplateError) -> TemplateExpression {
    let name = try dottedName()
    let arguments = at("(") ? try arguments() : TemplateArguments()
    return try node(
      .filter(value, name, arguments), line, over: (value.map { [$0] } ?? []) + arguments.all)
  }

  /// The filters of a block; with `starting`, the first has no bar before it.
  mutating func blockFilter(starting: Bool) throws(TemplateError) -> TemplateExpression {
    var result = starting ? try namedFilter(over: nil, token.line) : try filter(over: nil)
    while at("|") { result = try filter(over: result) }
    return result
  }

  private mutating func dottedName() throws(TemplateError) -> String {
    var name = try expectName()
    while skip(".") { name += "." + (try expectName()) }
    return name
  }

  private mutating func test(_ value: TemplateExpression) throws(TemplateError) -> TemplateExpression {
    let line = token.line
    advance()
    let isNegated = skipName("not")
    let name = try dottedName()
    var arguments = TemplateArguments()
    switch token.kind {
    case .symbol("("): arguments = try self.arguments()
    case .name("else"), .name("or"), .name("and"), .name("if"): break
    case .name("is"): throw unexpected("an operator")
    case .name, .string, .integer, .double, .symbol("["), .symbol("{"):
      arguments.positional = [try testArgument()]
    default: break
    }
    let result = try node(.test(value, name, arguments), line, over: [value] + arguments.all)
    return isNegated ? try node(.not(result), line, over: [result]) : result
  }

  mutating func arguments() throws(TemplateError) -> TemplateArguments {
    try expect("(")
    var result = TemplateArguments()
    var isFirst = true
    while !at(")") {
      if !isFirst {
        try expect(",")
        if at(")") { break }
      }
      isFirst = false
      if skip("*") {
        result.list = try expression()
      } else if skip("**") {
        result.dictionary = try expression()
      } else if case .name(let name) = token.kind, position + 1 < tokens.count,
        tokens[position + 1].kind == .symbol("=")
      {
        position += 2
        result.keywords.append((name, try expression()))
      } else if result.keywords.isEmpty, result.list == nil, result.dictionary == nil {
        result.positional.append(try expression())
      } else {
        throw unexpected("a named argument")
      }
    }
    try expect(")")
    return result
  }
}
