/// Statements.
extension TemplateParser {
  /// Statements up to a tag of `ends`, which is left at its name, or to the end of the template.
  mutating func body(until ends: Set<String>) throws(TemplateError) -> [TemplateStatement] {
    try enter()
    defer { depth -= 1 }
    var result: [TemplateStatement] = []
    while true {
      let line = token.line
      switch token.kind {
      case .data(let text):
        advance()
        result.append(TemplateStatement(kind: .text(text), line: line))
      case .printBegin:
        advance()
        let value = try tuple()
        guard token.kind == .printEnd else { throw unexpected("\"}}\"") }
        advance()
        result.append(TemplateStatement(kind: .print(value), line: line))
      case .blockBegin:
        advance()
        if case .name(let name) = token.kind, ends.contains(name) { return result }
        result.append(TemplateStatement(kind: try statement(), line: line))
      case .end where ends.isEmpty: return result
      default: throw unexpected(ends.sorted().map { "\"\($0)\"" }.joined(separator: " or "))
      }
    }
  }

  /// The body of a tag and the tag that ends it.
  private mutating func block(_ end: String) throws(TemplateError) -> [TemplateStatement] {
    try expectEnd()
    let result = try body(until: [end])
    advance()
    try expectEnd()
    return result
  }

  private mutating func statement() throws(TemplateError) -> TemplateStatement.Kind {
    let name = try expectName()
    switch name {
    case "if": return try conditional()
    case "for": return try loop()
    case "set": return try assignment()
    case "macro":
      let name = try expectName()
      return .macro(try macro(name, until: "endmacro") { _ in })
    case "call":
      var call: TemplateExpression?
      let macro = try macro("caller", until: "endcall") { parser throws(TemplateError) in
        call = try parser.expression()
      }
      guard let call else { throw unexpected("a call") }
      return .call(macro, call)
    case "filter":
      let filter = try blockFilter(starting: true)
      return .filter(filter, try block("endfilter"))
    case "generation": return .generation(try block("endgeneration"))
    case "with":
      var values: [(TemplateTarget, TemplateExpression)] = []
      while token.kind != .blockEnd {
        if !values.isEmpty { try expect(",") }
        let target = try target()
        try expect("=")
        values.append((target, try expression()))
      }
      return .scope(values, try block("endwith"))
    case "break", "continue":
      guard loops > 0 else { throw unexpected("a loop around \"\(name)\"") }
      try expectEnd()
      return name == "break" ? .breakLoop : .continueLoop
    case _ where name.utf8.starts(with: "end".utf8) || ["else", "elif"].contains(name):
      position -= 1
      throw unexpected("a tag that begins something")
    default: throw TemplateError(.unsupportedTag, path: path, line: token.line, name: name)
    }
  }

  private mutating func conditional() throws(TemplateError) -> TemplateStatement.Kind {
    var branches: [(test: TemplateExpression, body: [TemplateStatement])] = []
    while true {
      let test = try tuple(conditional: false)
      try expectEnd()
      branches.append((test, try body(until: ["elif", "else", "endif"])))
      if skipName("elif") { continue }
      if skipName("else") { return .conditional(branches, otherwise: try block("endif")) }
      advance()
      try expectEnd()
      return .conditional(branches, otherwise: [])
    }
  }

  private mutating func loop() throws(TemplateError) -> TemplateStatement.Kind {
    let target = try target()
    guard skipName("in") else { throw unexpected("\"in\"") }
    let values = try tuple(conditional: false)
    let condition = skipName("if") ? try expression() : nil
    if atName("recursive") {
      throw TemplateError(.unsupportedTag, path: path, line: token.line, name: "for … recursive")
    }
    try expectEnd()
    loops += 1
    let body = try body(until: ["else", "endfor"])
    loops -= 1
    var otherwise: [TemplateStatement] = []
    if skipName("else") {
      otherwise = try block("endfor")
    } else {
      advance()
      try expectEnd()
    }
    return .loop(
      TemplateLoop(target: target, values: values, condition: condition, body: body, otherwise: otherwise))
  }

  private mutating func assignment() throws(TemplateError) -> TemplateStatement.Kind {
    let target = try target(allowingAttributes: true)
    if skip("=") {
      let value = try tuple()
      try expectEnd()
      return .set(target, value)
    }
    let filter = at("|") ? try blockFilter(starting: false) : nil
    return .setBlock(target, filter, try block("endset"))
  }

  /// `a`, `a, b`, `(a, b)`, and in `set` also `a.b`.
  private mutating func target(allowingAttributes: Bool = false) throws(TemplateError) -> TemplateTarget {
    try enter()
    defer { depth -= 1 }
    var parts: [TemplateTarget] = []
    var isTuple = false
    while true {
      if !parts.isEmpty, at(")") || at("=") || atName("in") || token.kind == .blockEnd { break }
      if skip("(") {
        parts.append(try self.target())
        try expect(")")
      } else {
        let name = try expectName()
        if ["true", "false", "none", "True", "False", "None"].contains(name) {
          position -= 1
          throw unexpected("a name that can be set")
        }
        if allowingAttributes, skip(".") {
          parts.append(.attribute(name, try expectName()))
        } else {
          parts.append(.name(name))
        }
      }
      guard skip(",") else { break }
      isTuple = true
    }
    if !isTuple, let only = parts.first { return only }
    return .tuple(parts)
  }

  /// The parameters, what `between` reads, and the body.
  private mutating func macro(
    _ name: String, until end: String,
    _ between: (inout TemplateParser) throws(TemplateError) -> Void
  ) throws(TemplateError) -> TemplateMacro {
    var macro = TemplateMacro(name: name)
    if name != "caller" || at("(") {
      try expect("(")
      while !at(")") {
        if !macro.parameters.isEmpty {
          try expect(",")
          if at(")") { break }
        }
        let parameter = try expectName()
        macro.parameters.append((parameter, skip("=") ? try expression() : nil))
      }
      try expect(")")
    }
    try between(&self)
    let outer = (extras, loops)
    (extras, loops) = ([], 0)
    macro.body = try block(end)
    macro.extras = extras
    (extras, loops) = outer
    return macro
  }
}
