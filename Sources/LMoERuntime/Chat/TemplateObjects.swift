import LMoECore

/// Variables that can be set from everywhere.
final class TemplateNamespace {
  var members = TemplateDictionary()
}

/// Variables of a template, a loop's turn or a macro's call.
final class TemplateScope {
  let parent: TemplateScope?
  var variables: [ByteKey: TemplateValue] = [:]

  init(parent: TemplateScope?) { self.parent = parent }

  func value(of name: String) -> TemplateValue? {
    let key = ByteKey(name)
    var scope: TemplateScope? = self
    while let current = scope {
      if let value = current.variables[key] { return value }
      scope = current.parent
    }
    return nil
  }

  func set(_ name: String, _ value: TemplateValue) { variables[ByteKey(name)] = value }
}

/// Where a loop is: what `loop` says.
final class TemplateLoopState {
  let values: [TemplateValue]
  let depth: Int
  var index = 0
  /// What `changed` was last asked about.
  var last: TemplateValue?

  init(values: [TemplateValue], depth: Int) {
    self.values = values
    self.depth = depth
  }

  /// The attribute `name`, if it is one; methods are found elsewhere.
  func attribute(_ name: String) -> TemplateValue? {
    switch name {
    case "index": .integer(index + 1)
    case "index0": .integer(index)
    case "revindex": .integer(values.count - index)
    case "revindex0": .integer(values.count - index - 1)
    case "first": .bool(index == 0)
    case "last": .bool(index + 1 == values.count)
    case "length": .integer(values.count)
    case "depth": .integer(depth)
    case "depth0": .integer(depth - 1)
    case "previtem": index > 0 ? values[index - 1] : .undefined("there is no previous item")
    case "nextitem": index + 1 < values.count ? values[index + 1] : .undefined("there is no next item")
    default: nil
    }
  }
}

/// A macro where it was defined.
final class TemplateMacroValue {
  let macro: TemplateMacro
  let scope: TemplateScope

  init(_ macro: TemplateMacro, in scope: TemplateScope) {
    self.macro = macro
    self.scope = scope
  }
}

/// A method of a value.
final class TemplateMethod {
  let receiver: TemplateValue
  let name: String

  init(_ name: String, of receiver: TemplateValue) {
    self.name = name
    self.receiver = receiver
  }
}

/// The values a function, filter or test is called with.
struct TemplateInputs {
  var positional: [TemplateValue] = []
  var keywords: [(name: String, value: TemplateValue)] = []

  var count: Int { positional.count + keywords.count }

  /// Takes the next argument, by its place or else by its name.
  mutating func next(_ name: String) -> TemplateValue? {
    if !positional.isEmpty { return positional.removeFirst() }
    guard let place = keywords.firstIndex(where: { $0.name == name }) else { return nil }
    return keywords.remove(at: place).value
  }
}
