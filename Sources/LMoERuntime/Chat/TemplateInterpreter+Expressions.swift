/// Expressions.
extension TemplateInterpreter {
  /// The value of an expression.
  ///
  /// - Parameter value: what the innermost filter of a filtered block is given.
  func evaluate(
    _ expression: TemplateExpression, filtering value: TemplateValue? = nil
  ) throws(TemplateError) -> TemplateValue {
    try spend()
    return try nested { () throws(TemplateError) in
      line = expression.line
      return try evaluateSimple(expression, filtering: value)
    }
  }

  private func evaluateSimple(
    _ expression: TemplateExpression, filtering value: TemplateValue?
  ) throws(TemplateError) -> TemplateValue {
    switch expression.kind {
    case .constant(let constant): return Self.value(of: constant)
    case .name(let name): return self.value(of: name)
    case .and(let left, let right):
      let first = try evaluate(left)
      return first.isTrue ? try evaluate(right) : first
    case .or(let left, let right):
      let first = try evaluate(left)
      return first.isTrue ? first : try evaluate(right)
    case .not(let operand): return .bool(!(try evaluate(operand).isTrue))
    case .conditional(let test, let then, let otherwise):
      if try evaluate(test).isTrue { return try evaluate(then) }
      return try otherwise.map { (other) throws(TemplateError) in try evaluate(other) }
        ?? .undefined("the value of an \"if\" without \"else\"")
    case .attribute(let owner, let name): return try attribute(name, of: try evaluate(owner))
    case .item(let owner, let index):
      let owner = try evaluate(owner)
      return try item(try evaluate(index), of: owner)
    case .filter(let operand, let name, let arguments):
      let input: TemplateValue
      if let operand {
        input = try evaluate(operand, filtering: value)
      } else {
        input = value ?? .undefined("block")
      }
      let inputs = try inputs(arguments)
      line = expression.line
      return try filter(name, input, inputs)
    default: return try evaluateCompound(expression)
    }
  }

  private func evaluateCompound(_ expression: TemplateExpression) throws(TemplateError) -> TemplateValue {
    switch expression.kind {
    case .list(let elements): return try list(try evaluate(elements))
    case .tuple(let elements): return .tuple(try self.elements(try evaluate(elements)))
    case .dictionary(let members): return try dictionary(members)
    case .slice(let owner, let first, let last, let step):
      let owner = try evaluate(owner)
      let first = try bound(first)
      let last = try bound(last)
      return try slice(owner, from: first, to: last, by: try bound(step))
    case .call(let function, let arguments): return try evaluateCall(function, arguments, expression.line)
    case .test(let operand, let name, let arguments):
      let value = try evaluate(operand)
      let inputs = try inputs(arguments)
      return .bool(try test(name, value, inputs))
    case .negative(let operand): return try negated(try evaluate(operand))
    case .positive(let operand):
      let value = try evaluate(operand)
      guard value.number != nil else { throw mismatch("+", "a number", value) }
      return value.wholeNumber.map(TemplateValue.integer) ?? value
    case .binary(let left, let operation, let right):
      let first = try evaluate(left)
      let second = try evaluate(right)
      line = expression.line
      return try arithmetic(first, operation, second)
    case .concatenation(let parts):
      var text = ""
      for part in parts {
        text += try evaluate(part).text
        _ = try string(text)
      }
      return .string(text)
    case .comparison(let first, let rest):
      var left = try evaluate(first)
      for (operation, expression) in rest {
        let right = try evaluate(expression)
        guard try compare(left, operation, right) else { return .bool(false) }
        left = right
      }
      return .bool(true)
    default: return .none
    }
  }

  private static func value(of constant: TemplateConstant) -> TemplateValue {
    switch constant {
    case .none: .none
    case .bool(let value): .bool(value)
    case .integer(let value): .integer(value)
    case .double(let value): .double(value)
    case .string(let text): .string(text)
    }
  }

  private func value(of name: String) -> TemplateValue {
    if let value = scope.value(of: name) { return value }
    return Self.functions.contains(name) ? .function(name) : .undefined(name)
  }

  private func evaluate(_ expressions: [TemplateExpression]) throws(TemplateError) -> [TemplateValue] {
    var values: [TemplateValue] = []
    for expression in expressions { values.append(try evaluate(expression)) }
    return values
  }

  private func dictionary(
    _ members: [(key: TemplateExpression, value: TemplateExpression)]
  ) throws(TemplateError) -> TemplateValue {
    var result = TemplateDictionary()
    for member in members {
      let key = try evaluate(member.key)
      try set(key, try evaluate(member.value), in: &result)
    }
    return .dictionary(result)
  }

  func set(
    _ key: TemplateValue, _ value: TemplateValue, in dictionary: inout TemplateDictionary
  ) throws(TemplateError) {
    guard try isKey(key), dictionary.set(key, value) else {
      throw mismatch("a key of a dictionary", "a text, a number or none", key)
    }
    if dictionary.depth > TemplateParser.maximumDepth {
      throw limit("\(TemplateParser.maximumDepth) levels of nesting")
    }
  }

  private func bound(_ expression: TemplateExpression?) throws(TemplateError) -> Int? {
    guard let expression else { return nil }
    let value = try evaluate(expression)
    if case .none = value { return nil }
    guard let number = value.wholeNumber else { throw mismatch("a slice", "whole numbers", value) }
    return number
  }

  private func evaluateCall(
    _ function: TemplateExpression, _ arguments: TemplateArguments, _ line: Int
  ) throws(TemplateError) -> TemplateValue {
    let name: String
    let value: TemplateValue
    switch function.kind {
    case .attribute(let owner, let attribute):
      name = attribute
      let owner = try evaluate(owner)
      value = try self.attribute(attribute, of: owner)
      if value.isUndefined { throw failure(.unsupportedMethod, attribute, found: owner.typeName) }
    case .name(let variable):
      name = variable
      value = try evaluate(function)
    default:
      name = "a call"
      value = try evaluate(function)
    }
    let inputs = try inputs(arguments)
    self.line = line
    return try call(value, inputs, named: name)
  }

  /// The values of arguments.
  func inputs(_ arguments: TemplateArguments) throws(TemplateError) -> TemplateInputs {
    var inputs = TemplateInputs(positional: try evaluate(arguments.positional))
    for keyword in arguments.keywords {
      inputs.keywords.append((keyword.name, try evaluate(keyword.value)))
    }
    if let list = arguments.list {
      inputs.positional += try iterated(try evaluate(list), by: "*")
      try spend(elements: inputs.positional.count)
    }
    if let dictionary = arguments.dictionary {
      let value = try evaluate(dictionary)
      guard case .dictionary(let members) = value else { throw mismatch("**", "a dictionary", value) }
      for member in members.members { inputs.keywords.append((member.key.text, member.value)) }
      try spend(elements: members.count)
    }
    return inputs
  }
}
