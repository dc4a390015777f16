import LMoECore

/// Operators, with the meaning they have in Python.
extension TemplateInterpreter {
  /// The error for a value that has not the type something needs.
  func mismatch(_ name: String, _ expected: String, _ value: TemplateValue) -> TemplateError {
    if case .undefined(let variable) = value {
      return failure(.undefined, variable, expected: "used by \(name), which needs \(expected)")
    }
    return failure(.wrongType, name, expected: expected, found: value.typeName)
  }

  func negated(_ value: TemplateValue) throws(TemplateError) -> TemplateValue {
    if case .double(let number) = value { return .double(-number) }
    guard let number = value.wholeNumber else { throw mismatch("-", "a number", value) }
    return .integer(try checked("-", Int(0).subtractingReportingOverflow(number)))
  }

  private func checked(
    _ name: String, _ result: (partialValue: Int, overflow: Bool)
  ) throws(TemplateError) -> Int {
    if result.overflow { throw failure(.overflow, name) }
    return result.partialValue
  }

  func arithmetic(
    _ left: TemplateValue, _ operation: String, _ right: TemplateValue
  ) throws(TemplateError) -> TemplateValue {
    if let a = left.wholeNumber, let b = right.wholeNumber { return try whole(a, operation, b) }
    if let a = left.number, let b = right.number { return try fraction(a, operation, b) }
    switch (operation, left, right) {
    case ("+", .string(let a), .string(let b)): return try string(a + b)
    case ("+", .list(let a), .list(let b)): return try list(a.values + b.values)
    case ("+", .tuple(let a), .tuple(let b)): return .tuple(try elements(a.values + b.values))
    case ("*", .string(let text), _):
      guard let count = right.wholeNumber else { break }
      return try repeated(text, count)
    case ("*", _, .string(let text)):
      guard let count = left.wholeNumber else { break }
      return try repeated(text, count)
    case ("*", .list(let elements), _):
      guard let count = right.wholeNumber else { break }
      if count <= 0 || elements.values.isEmpty { return .list(TemplateElements([])) }
      guard count <= TemplateLimits.steps / elements.values.count else {
        throw limit("\(TemplateLimits.steps) steps")
      }
      try spend(elements: count * elements.values.count)
      return try list(Array(repeating: elements.values, count: count).flatMap { $0 })
    default: break
    }
    for value in [left, right] where value.isUndefined { throw mismatch(operation, "a value", value) }
    throw failure(
      .wrongType, operation, expected: "two values that go together",
      found: "\(left.typeName) and \(right.typeName)")
  }

  private func repeated(_ text: String, _ count: Int) throws(TemplateError) -> TemplateValue {
    if count <= 0 || text.isEmpty { return .string("") }
    guard count <= TemplateLimits.outputBytes / text.utf8.count else {
      throw limit("\(TemplateLimits.outputBytes >> 20) MiB of text")
    }
    return try string(String(repeating: text, count: count))
  }

  private func whole(_ a: Int, _ operation: String, _ b: Int) throws(TemplateError) -> TemplateValue {
    switch operation {
    case "+": return .integer(try checked("+", a.addingReportingOverflow(b)))
    case "-": return .integer(try checked("-", a.subtractingReportingOverflow(b)))
    case "*": return .integer(try checked("*", a.multipliedReportingOverflow(by: b)))
    case "**":
      guard b >= 0 else { return try fraction(Double(a), "**", Double(b)) }
      var result = 1
      if a == 0 || a == 1 { return .integer(b == 0 ? 1 : a) }
      if a == -1 { return .integer(b % 2 == 0 ? 1 : -1) }
      for _ in 0..<min(b, 64) { result = try checked("**", result.multipliedReportingOverflow(by: a)) }
      return .integer(result)
    default:
      if b == 0 { throw failure(.divisionByZero, operation) }
      if operation == "/" { return .double(Double(a) / Double(b)) }
      let quotient = try checked(operation, a.dividedReportingOverflow(by: b))
      let rest = a - quotient * b
      let isBelow = rest != 0 && (rest < 0) != (b < 0)
      return .integer(operation == "//" ? quotient - (isBelow ? 1 : 0) : rest + (isBelow ? b : 0))
    }
  }

  private func fraction(_ a: Double, _ operation: String, _ b: Double) throws(TemplateError) -> TemplateValue
  {
    switch operation {
    case "+": return .double(a + b)
    case "-": return .double(a - b)
    case "*": return .double(a * b)
    case "**":
      // Roots are nothing a chat needs.
      guard let power = Int(exactly: b), (-1024...1024).contains(power) else {
        throw failure(.invalidValue, "an exponent", expected: "a small whole number", found: "\(b)")
      }
      if a == 0, power < 0 { throw failure(.divisionByZero, "**") }
      var result = 1.0
      for _ in 0..<abs(power) { result *= a }
      return .double(power < 0 ? 1 / result : result)
    default:
      if b == 0 { throw failure(.divisionByZero, operation) }
      if operation == "/" { return .double(a / b) }
      let quotient = (a / b).rounded(.down)
      if operation == "//" { return .double(quotient) }
      let rest = a.truncatingRemainder(dividingBy: b)
      return .double(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest)
    }
  }

  func compare(
    _ left: TemplateValue, _ operation: String, _ right: TemplateValue
  ) throws(TemplateError) -> Bool {
    switch operation {
    case "==": return try areEqual(left, right)
    case "!=": return !(try areEqual(left, right))
    case "in": return try contains(right, left)
    case "not in": return !(try contains(right, left))
    case "<": return try precedes(left, right)
    case ">": return try precedes(right, left)
    // A number that is none is neither below nor above.
    case "<=":
      if try precedes(left, right) { return true }
      return try areEqual(left, right)
    default:
      if try precedes(right, left) { return true }
      return try areEqual(left, right)
    }
  }

  func areEqual(_ left: TemplateValue, _ right: TemplateValue) throws(TemplateError) -> Bool {
    try spend()
    if let a = left.wholeNumber, let b = right.wholeNumber { return a == b }
    if let a = left.number, let b = right.number { return a == b }
    switch (left, right) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.string(let a), .string(let b)):
      try spend(bytes: min(a.utf8.count, b.utf8.count))
      return a.hasSameBytes(as: b)
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)),
      (.sequence(.range, let a), .sequence(.range, let b)):
      guard a.values.count == b.values.count else { return false }
      for (a, b) in zip(a.values, b.values) where !(try areEqual(a, b)) { return false }
      return true
    case (.dictionary(let a), .dictionary(let b)):
      guard a.count == b.count else { return false }
      for member in a.members {
        guard let other = b.value(of: member.key), try areEqual(member.value, other) else { return false }
      }
      return true
    case (.namespace(let a), .namespace(let b)): return a === b
    case (.macro(let a), .macro(let b)): return a === b
    case (.loop(let a), .loop(let b)): return a === b
    case (.function(let a), .function(let b)): return a == b
    default: return false
    }
  }

  func precedes(_ left: TemplateValue, _ right: TemplateValue) throws(TemplateError) -> Bool {
    try spend()
    if let a = left.wholeNumber, let b = right.wholeNumber { return a < b }
    if let a = left.number, let b = right.number { return a < b }
    switch (left, right) {
    case (.string(let a), .string(let b)):
      try spend(bytes: min(a.utf8.count, b.utf8.count))
      // UTF-8 keeps the order of the scalars.
      return a.utf8.lexicographicallyPrecedes(b.utf8)
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      for (a, b) in zip(a.values, b.values) where !(try areEqual(a, b)) { return try precedes(a, b) }
      return a.values.count < b.values.count
    default:
      for value in [left, right] where value.isUndefined { throw mismatch("a comparison", "a value", value) }
      throw failure(
        .wrongType, "a comparison", expected: "two values with an order",
        found: "\(left.typeName) and \(right.typeName)")
    }
  }

  /// Python's `in`.
  func contains(_ container: TemplateValue, _ value: TemplateValue) throws(TemplateError) -> Bool {
    switch container {
    case .string(let text):
      guard case .string(let part) = value else { throw mismatch("in", "a text to look for", value) }
      try spend(bytes: text.utf8.count + part.utf8.count)
      return ByteSearch(part).first(in: Array(text.utf8), from: 0) != nil
    case .dictionary(let dictionary):
      guard try isKey(value) else { throw mismatch("in", "a key", value) }
      return dictionary.value(of: value) != nil
    default:
      for element in try iterated(container, by: "in") where try areEqual(element, value) { return true }
      return false
    }
  }
}
