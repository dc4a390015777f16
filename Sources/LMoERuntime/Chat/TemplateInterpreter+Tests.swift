/// What stands behind `is`.
extension TemplateInterpreter {
  func test(
    _ name: String, _ value: TemplateValue, _ inputs: TemplateInputs
  ) throws(TemplateError) -> Bool {
    let needed = ["divisibleby", "in", "sameas"].contains(name) || Self.comparisons[name] != nil ? 1 : 0
    guard inputs.count == needed, inputs.keywords.isEmpty else {
      throw wrongArguments(name, inputs, takes: needed == 1 ? "one value" : "nothing")
    }
    if let operation = Self.comparisons[name], let other = inputs.positional.first {
      return try compare(value, operation, other)
    }
    switch name {
    case "defined": return !value.isUndefined
    case "undefined": return value.isUndefined
    case "none": if case .none = value { return true } else { return false }
    case "boolean": if case .bool = value { return true } else { return false }
    case "true": if case .bool(true) = value { return true } else { return false }
    case "false": if case .bool(false) = value { return true } else { return false }
    case "integer": if case .integer = value { return true } else { return false }
    case "float": if case .double = value { return true } else { return false }
    case "number": return value.number != nil
    case "string": if case .string = value { return true } else { return false }
    case "mapping": if case .dictionary = value { return true } else { return false }
    case "iterable":
      switch value {
      case .undefined, .string, .list, .tuple, .dictionary, .sequence, .loop: return true
      default: return false
      }
    case "sequence":
      switch value {
      case .undefined, .string, .list, .tuple, .dictionary, .sequence(.range, _): return true
      default: return false
      }
    case "callable":
      switch value {
      case .undefined, .macro, .function, .method: return true
      default: return false
      }
    case "lower": return try text(of: value).isOfKind("islower")
    case "upper": return try text(of: value).isOfKind("isupper")
    case "odd", "even":
      guard let number = value.wholeNumber else { throw mismatch(name, "a whole number", value) }
      return (number % 2 == 0) == (name == "even")
    case "divisibleby":
      let rest = try arithmetic(value, "%", inputs.positional[0])
      return rest.number == 0
    case "in": return try contains(inputs.positional[0], value)
    case "sameas":
      guard value.typeName == inputs.positional[0].typeName else { return false }
      return try areEqual(value, inputs.positional[0])
    default: throw failure(.unsupportedTest, name)
    }
  }

  private static let comparisons = [
    "eq": "==", "equalto": "==", "ne": "!=", "lt": "<", "lessthan": "<", "le": "<=", "gt": ">",
    "greaterthan": ">", "ge": ">=", "==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
  ]
}
