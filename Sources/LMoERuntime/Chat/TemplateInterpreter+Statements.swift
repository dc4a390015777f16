/// Statements.
extension TemplateInterpreter {
  /// Runs statements, until one leaves a loop.
  func run(_ statements: [TemplateStatement]) throws(TemplateError) -> Flow {
    try nested { () throws(TemplateError) in
      for statement in statements {
        line = statement.line
        try spend()
        let flow = try run(statement)
        if flow != .onward { return flow }
      }
      return .onward
    }
  }

  private func run(_ statement: TemplateStatement) throws(TemplateError) -> Flow {
    switch statement.kind {
    case .text(let text): try write(text)
    case .print(let expression): try write(try evaluate(expression).text)
    case .set(let target, let expression): try assign(try evaluate(expression), to: target)
    case .setBlock(let target, let filter, let body):
      try assign(try filtered(by: filter, body), to: target)
    case .conditional(let branches, let otherwise):
      for branch in branches where try evaluate(branch.test).isTrue { return try run(branch.body) }
      return try run(otherwise)
    case .loop(let loop): return try run(loop)
    case .macro(let macro): scope.set(macro.name, define(macro))
    case .call(let macro, let call): try run(call, with: macro)
    case .filter(let filter, let body): try write(try filtered(by: filter, body).text)
    case .generation(let body):
      let start = output.utf8.count
      let flow = try run(body, with: [])
      if captures == 0 { generations.append(start..<output.utf8.count) }
      return flow
    case .scope(let values, let body): return try run(body, with: values)
    case .breakLoop: return .breakLoop
    case .continueLoop: return .continueLoop
    }
    return .onward
  }

  private func run(
    _ body: [TemplateStatement], with values: [(TemplateTarget, TemplateExpression)]
  ) throws(TemplateError) -> Flow {
    var evaluated: [(TemplateTarget, TemplateValue)] = []
    for (target, expression) in values { evaluated.append((target, try evaluate(expression))) }
    return try scoped { () throws(TemplateError) in
      for (target, value) in evaluated { try assign(value, to: target) }
      return try run(body)
    }
  }

  private func filtered(
    by filter: TemplateExpression?, _ body: [TemplateStatement]
  ) throws(TemplateError) -> TemplateValue {
    let text = try captured { () throws(TemplateError) in
      _ = try scoped { () throws(TemplateError) in try run(body) }
    }
    let value = try string(text)
    guard let filter else { return value }
    return try evaluate(filter, filtering: value)
  }

  private func run(_ loop: TemplateLoop) throws(TemplateError) -> Flow {
    let values = try iterated(try evaluate(loop.values), by: "for")
    var chosen = values
    if let condition = loop.condition {
      chosen = []
      for value in values {
        let isChosen = try scoped { () throws(TemplateError) in
          try assign(value, to: loop.target)
          return try evaluate(condition).isTrue
        }
        if isChosen { chosen.append(value) }
      }
    }
    if try !hasFinishedTurn(of: loop, over: chosen) {
      return try scoped { () throws(TemplateError) in try run(loop.otherwise) }
    }
    return .onward
  }

  /// Runs the turns; whether the body of one came to its end, which is what Jinja's `else` asks about.
  private func hasFinishedTurn(
    of loop: TemplateLoop, over chosen: [TemplateValue]
  ) throws(TemplateError) -> Bool {
    var hasFinished = false
    loopDepth += 1
    defer { loopDepth -= 1 }
    let state = TemplateLoopState(values: chosen, depth: loopDepth)
    for (index, value) in chosen.enumerated() {
      state.index = index
      let flow = try scoped { () throws(TemplateError) in
        scope.set("loop", .loop(state))
        try assign(value, to: loop.target)
        return try run(loop.body)
      }
      if flow == .breakLoop { break }
      if flow == .onward { hasFinished = true }
    }
    return hasFinished
  }

  /// A call with a block: the block is the macro `caller`.
  private func run(_ call: TemplateExpression, with macro: TemplateMacro) throws(TemplateError) {
    guard case .call(let function, let arguments) = call.kind else {
      throw failure(.wrongType, "call", expected: "a call", found: "another expression")
    }
    var inputs = try inputs(arguments)
    inputs.keywords.append(("caller", define(macro)))
    try write(try self.call(try evaluate(function), inputs, named: "call").text)
  }

  func assign(_ value: TemplateValue, to target: TemplateTarget) throws(TemplateError) {
    switch target {
    case .name(let name): scope.set(name, value)
    case .attribute(let name, let attribute):
      guard case .namespace(let namespace)? = scope.value(of: name) else {
        let found = scope.value(of: name)?.typeName ?? "Undefined"
        throw failure(.wrongType, "set \(name).\(attribute)", expected: "a namespace", found: found)
      }
      guard attribute.utf8.first != UInt8(ascii: "_") else {
        throw failure(.mutation, attribute, found: "a hidden attribute")
      }
      namespace.members.set(attribute, value)
    case .tuple(let targets):
      let values = try iterated(value, by: "set")
      guard values.count == targets.count else {
        throw failure(
          .invalidValue, "what is taken apart", expected: "\(targets.count) values",
          found: "\(values.count) values")
      }
      for (target, value) in zip(targets, values) { try assign(value, to: target) }
    }
  }
}
