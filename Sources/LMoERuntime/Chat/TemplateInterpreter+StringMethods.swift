import LMoECore

/// Methods of strings.
extension TemplateInterpreter {
  func call(
    _ name: String, ofString text: String, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    switch name {
    case "strip", "lstrip", "rstrip":
      let characters = try optionalText(inputs.next("chars"), name)
      return .string(text.stripped(of: characters, left: name != "rstrip", right: name != "lstrip"))
    case "upper", "lower", "title", "capitalize":
      return try string(text.recased(name))
    case "split", "rsplit":
      try spend(elements: text.utf8.count / 4)
      let separator = try optionalText(inputs.next("sep"), name)
      let limit = try wholeNumber(inputs.next("maxsplit"), name) ?? -1
      if separator?.isEmpty == true {
        throw failure(.invalidValue, "a separator", expected: "a text", found: "empty")
      }
      let parts = text.split(by: separator, at: limit < 0 ? .max : limit, fromEnd: name == "rsplit")
      return try list(parts.map(TemplateValue.string))
    case "splitlines":
      let keeps = inputs.next("keepends")?.isTrue ?? false
      return try list(text.lines(keepingEnds: keeps).map(TemplateValue.string))
    case "startswith", "endswith":
      return .bool(try affixed(text, inputs.next("prefix"), name))
    case "removeprefix", "removesuffix":
      let part = Array(try requiredText(inputs.next("part"), name).utf8)
      let bytes = Array(text.utf8)
      if name == "removeprefix", !part.isEmpty, bytes.starts(with: part) {
        return .string(String(decoding: bytes[part.count...], as: UTF8.self))
      }
      if name == "removesuffix", !part.isEmpty, bytes.reversed().starts(with: part.reversed()) {
        return .string(String(decoding: bytes[..<(bytes.count - part.count)], as: UTF8.self))
      }
      return .string(text)
    case "replace":
      let old = try requiredText(inputs.next("old"), name)
      let new = try requiredText(inputs.next("new"), name)
      return try replaced(text, old, new, try wholeNumber(inputs.next("count"), name) ?? -1)
    case "format":
      let given = inputs
      inputs = TemplateInputs()
      return try formatted(text, given)
    case "find", "rfind", "count":
      return try search(name, in: text, try requiredText(inputs.next("sub"), name))
    case "join":
      guard let values = inputs.next("iterable") else { throw wrongArguments(name, inputs, takes: "a list") }
      return try joined(try iterated(values, by: name), by: text) { (value) throws(TemplateError) in
        guard case .string(let part) = value else { throw self.mismatch("join", "texts", value) }
        return part
      }
    default: return .bool(text.isOfKind(name))
    }
  }

  /// `{}`, `{0}` and `{name}`, without widths and conversions.
  private func formatted(_ text: String, _ inputs: TemplateInputs) throws(TemplateError) -> TemplateValue {
    var parts: [TemplateValue] = []
    var rest = text.unicodeScalars[...]
    var next = 0
    while let scalar = rest.popFirst() {
      if scalar != "{" && scalar != "}" || rest.first == scalar {
        if scalar == "{" || scalar == "}" { rest.removeFirst() }
        parts.append(.string(String(scalar)))
        continue
      }
      let field = String(rest.prefix { $0 != "}" })
      guard scalar == "{", field.unicodeScalars.count < rest.count else {
        throw failure(.invalidValue, "a format", expected: "of {} and {name}", found: text)
      }
      rest = rest.dropFirst(field.unicodeScalars.count + 1)
      if let place = field.isEmpty ? next : Int(field), inputs.positional.indices.contains(place) {
        parts.append(inputs.positional[place])
        next = place + 1
      } else if let named = inputs.keywords.first(where: { $0.name.hasSameBytes(as: field) }) {
        parts.append(named.value)
      } else {
        throw failure(.invalidValue, "a field of a format", expected: "an argument", found: "{\(field)}")
      }
    }
    return try joined(parts, by: "") { (value) throws(TemplateError) in value.text }
  }

  private func affixed(
    _ text: String, _ affix: TemplateValue?, _ name: String
  ) throws(TemplateError) -> Bool {
    var affixes = [affix ?? .none]
    if case .tuple(let elements) = affix { affixes = elements.values }
    for affix in affixes {
      let part = try requiredText(affix, name)
      try spend(bytes: part.utf8.count)
      if name == "startswith"
        ? text.utf8.starts(with: part.utf8)
        : text.utf8.reversed().starts(with: part.utf8.reversed())
      {
        return true
      }
    }
    return false
  }

  private func search(
    _ name: String, in text: String, _ part: String
  ) throws(TemplateError) -> TemplateValue {
    try spend(bytes: part.utf8.count)
    let bytes = Array(text.utf8)
    func scalars(before place: Int) -> Int { bytes[..<place].count { $0 & 0xC0 != 0x80 } }
    if part.isEmpty {
      return .integer(name == "find" ? 0 : scalars(before: bytes.count) + (name == "count" ? 1 : 0))
    }
    let search = ByteSearch(part)
    switch name {
    case "find": return .integer(search.first(in: bytes, from: 0).map(scalars) ?? -1)
    case "count": return .integer(search.all(in: bytes).count)
    default:
      var last: Int?
      var start = 0
      while let place = search.first(in: bytes, from: start) {
        last = place
        start = place + 1
        try spend(bytes: part.utf8.count)
      }
      return .integer(last.map(scalars) ?? -1)
    }
  }

  func replaced(
    _ text: String, _ old: String, _ new: String, _ count: Int
  ) throws(TemplateError) -> TemplateValue {
    let limit = count < 0 ? Int.max : count
    try spend(bytes: text.utf8.count)
    var parts: [String]
    if old.isEmpty {
      // Between all characters.
      try spend(elements: text.utf8.count)
      let scalars = Array(text.unicodeScalars)
      let cuts = min(limit, scalars.count + 1)
      guard cuts > 0 else { return .string(text) }
      var rest = String.UnicodeScalarView()
      rest.append(contentsOf: scalars.dropFirst(cuts - 1))
      parts = [""] + scalars.prefix(cuts - 1).map { String($0) } + [String(rest)]
    } else {
      let bytes = Array(text.utf8)
      parts = []
      var start = 0
      for place in ByteSearch(old).all(in: bytes, limit: limit) {
        parts.append(String(decoding: bytes[start..<place], as: UTF8.self))
        start = place + old.utf8.count
      }
      parts.append(String(decoding: bytes[start...], as: UTF8.self))
    }
    return try joined(parts.map(TemplateValue.string), by: new) { (value) throws(TemplateError) in value.text
    }
  }

  /// Texts of values, one behind the other.
  func joined(
    _ values: [TemplateValue], by separator: String,
    _ text: (TemplateValue) throws(TemplateError) -> String
  ) throws(TemplateError) -> TemplateValue {
    var result = ""
    for (index, value) in values.enumerated() {
      if index > 0 { result += separator }
      let part = try text(value)
      try spend(bytes: part.utf8.count + separator.utf8.count)
      result += part
      if result.utf8.count > TemplateLimits.outputBytes {
        throw limit("\(TemplateLimits.outputBytes >> 20) MiB of text")
      }
    }
    return .string(result)
  }

  /// An argument that has to be a text.
  func requiredText(_ value: TemplateValue?, _ name: String) throws(TemplateError) -> String {
    guard case .string(let text)? = value else { throw mismatch(name, "a text", value ?? .none) }
    return text
  }

  func optionalText(_ value: TemplateValue?, _ name: String) throws(TemplateError) -> String? {
    switch value {
    case nil, .some(.none): nil
    default: try requiredText(value, name)
    }
  }

  func wholeNumber(_ value: TemplateValue?, _ name: String) throws(TemplateError) -> Int? {
    guard let value else { return nil }
    guard let number = value.wholeNumber else { throw mismatch(name, "a whole number", value) }
    return number
  }
}
