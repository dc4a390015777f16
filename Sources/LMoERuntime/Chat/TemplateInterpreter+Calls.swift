/// Calls of functions and macros.
extension TemplateInterpreter {
  /// What every template can call.
  static let functions: Set<String> = ["raise_exception", "strftime_now", "range", "namespace", "dict"]

  func call(
    _ function: TemplateValue, _ inputs: TemplateInputs, named name: String
  ) throws(TemplateError) -> TemplateValue {
    switch function {
    case .function(let name): return try call(name, inputs)
    case .method(let method): return try call(method, inputs)
    case .macro(let macro): return try call(macro, inputs)
    case .undefined(let variable): throw failure(.undefined, variable, expected: "called")
    default: throw failure(.wrongType, name, expected: "a function or macro", found: function.typeName)
    }
  }

  /// The error for arguments that do not fit.
  func wrongArguments(_ name: String, _ inputs: TemplateInputs, takes expected: String) -> TemplateError {
    failure(
      .invalidArguments, name, expected: expected,
      found: inputs.count == 0
        ? "nothing"
        : (inputs.positional.map(\.typeName) + inputs.keywords.map { "\($0.name)=" })
          .prefix(8).joined(separator: ", "))
  }

  private func call(_ name: String, _ inputs: TemplateInputs) throws(TemplateError) -> TemplateValue {
    switch name {
    case "raise_exception":
      throw failure(.refused, found: inputs.positional.first?.text ?? inputs.keywords.first?.value.text ?? "")
    case "strftime_now":
      guard case .string(let format)? = inputs.positional.first, inputs.count == 1 else {
        throw wrongArguments(name, inputs, takes: "a format")
      }
      guard let text = date.formatted(format) else {
        throw failure(
          .invalidValue, "a format of dates", expected: "made of %a %A %b %B %d %H %I %j %m %M %p %S %y %Y",
          found: format)
      }
      return try string(text)
    case "range": return try range(inputs)
    default:
      let members = try dictionary(inputs, named: name)
      guard name == "namespace" else { return .dictionary(members) }
      let namespace = makeNamespace()
      for member in members.members {
        if case .string(let key) = member.key, key.utf8.first == UInt8(ascii: "_") {
          throw failure(.mutation, key, found: "a hidden attribute")
        }
      }
      namespace.members = members
      return .namespace(namespace)
    }
  }

  private func range(_ inputs: TemplateInputs) throws(TemplateError) -> TemplateValue {
    let bounds = inputs.positional.compactMap(\.wholeNumber)
    guard bounds.count == inputs.count, (1...3).contains(bounds.count) else {
      throw wrongArguments("range", inputs, takes: "one to three whole numbers")
    }
    let (start, end) = bounds.count == 1 ? (0, bounds[0]) : (bounds[0], bounds[1])
    let step = bounds.count == 3 ? bounds[2] : 1
    guard step != 0, step != .min else {
      throw failure(.invalidValue, "the step of a range", expected: "another number", found: "\(step)")
    }
    var values: [TemplateValue] = []
    var value = start
    while step > 0 ? value < end : value > end {
      values.append(.integer(value))
      if values.count > TemplateLimits.range { throw limit("\(TemplateLimits.range) numbers in a range") }
      let (next, overflow) = value.addingReportingOverflow(step)
      if overflow { break }
      value = next
    }
    return .sequence(.range, try elements(values))
  }

  /// `dict(mapping or pairs, key=value …)`.
  private func dictionary(
    _ inputs: TemplateInputs, named name: String
  ) throws(TemplateError) -> TemplateDictionary {
    guard inputs.positional.count <= 1 else {
      throw wrongArguments(name, inputs, takes: "one mapping and named values")
    }
    var result = TemplateDictionary()
    if let first = inputs.positional.first {
      if case .dictionary(let members) = first {
        try spend(elements: members.count)
        result = members
      } else {
        for pair in try iterated(first, by: name) {
          let values = try iterated(pair, by: name)
          guard values.count == 2 else {
            throw failure(.invalidValue, name, expected: "of pairs", found: "of \(values.count) values")
          }
          try set(values[0], values[1], in: &result)
        }
      }
    }
    for keyword in inputs.keywords { try set(.string(keyword.name), keyword.value, in: &result) }
    return result
  }

  private func call(
    _ value: TemplateMacroValue, _ inputs: TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    let macro = value.macro
    var inputs = inputs
    let loops = loopDepth
    loopDepth = 0
    defer { loopDepth = loops }
    let text = try captured { () throws(TemplateError) in
      try scoped(in: value.scope) { () throws(TemplateError) in
        for parameter in macro.parameters {
          if let given = inputs.next(parameter.name) {
            scope.set(parameter.name, given)
          } else if let standard = parameter.standard {
            scope.set(parameter.name, try evaluate(standard))
          } else {
            scope.set(parameter.name, .undefined(parameter.name))
          }
        }
        try bindExtras(of: macro, &inputs)
        _ = try run(macro.body)
      }
    }
    return try string(text)
  }

  /// `caller`, `varargs` and `kwargs`, for macros that mention them.
  private func bindExtras(of macro: TemplateMacro, _ inputs: inout TemplateInputs) throws(TemplateError) {
    let places = "\(macro.parameters.count) arguments"
    if let place = inputs.keywords.firstIndex(where: { $0.name == "caller" }) {
      guard macro.extras.contains("caller") else {
        throw wrongArguments(macro.name, inputs, takes: "no block")
      }
      scope.set("caller", inputs.keywords.remove(at: place).value)
    } else if macro.extras.contains("caller") {
      scope.set("caller", .undefined("caller"))
    }
    if macro.extras.contains("varargs") {
      scope.set("varargs", .tuple(try elements(inputs.positional)))
    } else if !inputs.positional.isEmpty {
      throw wrongArguments(macro.name, inputs, takes: "\(places), not more")
    }
    if macro.extras.contains("kwargs") {
      var rest = TemplateDictionary()
      for keyword in inputs.keywords { try set(.string(keyword.name), keyword.value, in: &rest) }
      scope.set("kwargs", .dictionary(rest))
    } else if !inputs.keywords.isEmpty {
      throw wrongArguments(macro.name, inputs, takes: "\(places), none of these")
    }
  }
}
