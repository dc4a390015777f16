/// Methods of strings, dictionaries, lists and loops.
extension TemplateInterpreter {
  static let dictionaryMethods: Set<String> = ["get", "items", "keys", "values", "copy"]
  static let dictionaryChanges: Set<String> = ["pop", "popitem", "update", "setdefault", "clear"]
  static let listMethods: Set<String> = ["index", "count", "copy"]
  static let listChanges: Set<String> = [
    "append", "extend", "insert", "pop", "remove", "clear", "reverse", "sort",
  ]
  static let stringMethods: Set<String> = [
    "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "upper", "lower",
    "title", "capitalize", "replace", "find", "rfind", "join", "isdigit", "isnumeric", "isalpha", "isalnum",
    "isspace", "isupper", "islower", "count", "format",
    "removeprefix", "removesuffix",
  ]

  func call(_ method: TemplateMethod, _ inputs: TemplateInputs) throws(TemplateError) -> TemplateValue {
    var inputs = inputs
    let result: TemplateValue
    switch method.receiver {
    case .string(let text):
      try spend(bytes: text.utf8.count)
      result = try call(method.name, ofString: text, &inputs)
    case .dictionary(let dictionary): result = try call(method.name, of: dictionary, &inputs)
    case .list(let elements), .tuple(let elements): result = try call(method.name, of: elements, &inputs)
    case .loop(let loop): result = try call(method.name, of: loop, &inputs)
    default: result = .none
    }
    guard inputs.count == 0 else { throw wrongArguments(method.name, inputs, takes: "no such arguments") }
    return result
  }

  private func call(
    _ name: String, of dictionary: TemplateDictionary, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    switch name {
    case "get":
      guard let key = inputs.next("key") else { throw wrongArguments("get", inputs, takes: "a key") }
      let standard = inputs.next("default") ?? .none
      return try isKey(key) ? dictionary.value(of: key) ?? standard : standard
    case "items": return .sequence(.items, try pairs(dictionary))
    case "keys": return .sequence(.keys, try elements(dictionary.members.map(\.key)))
    case "values": return .sequence(.values, try elements(dictionary.members.map(\.value)))
    default: return .dictionary(dictionary)
    }
  }

  /// Keys and values, two by two.
  func pairs(_ dictionary: TemplateDictionary) throws(TemplateError) -> TemplateElements {
    try elements(dictionary.members.map { .tuple(TemplateElements([$0.key, $0.value])) })
  }

  private func call(
    _ name: String, of elements: TemplateElements, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    if name == "copy" { return .list(elements) }
    guard let wanted = inputs.next("value") else { throw wrongArguments(name, inputs, takes: "a value") }
    var count = 0
    for (index, element) in elements.values.enumerated() where try areEqual(element, wanted) {
      if name == "index" { return .integer(index) }
      count += 1
    }
    if name == "count" { return .integer(count) }
    throw failure(
      .invalidValue, "what \"index\" looks for", expected: "in the list", found: "missing from it")
  }

  private func call(
    _ name: String, of loop: TemplateLoopState, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    let values = inputs.positional
    inputs.positional = []
    if name == "cycle" {
      guard !values.isEmpty else { throw wrongArguments("cycle", inputs, takes: "values") }
      return values[loop.index % values.count]
    }
    let now = TemplateValue.tuple(try elements(values))
    if let last = loop.last, try areEqual(last, now) { return .bool(false) }
    loop.last = now
    return .bool(true)
  }
}
