import LMoECore

/// Filters of single values.
extension TemplateInterpreter {
  func filter(
    _ name: String, _ value: TemplateValue, _ inputs: TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    var inputs = inputs
    var result = try textFilter(name, value, &inputs)
    if result == nil { result = try valueFilter(name, value, &inputs) }
    if result == nil { result = try sequenceFilter(name, value, &inputs) }
    if result == nil { result = try choosingFilter(name, value, &inputs) }
    guard let result else { throw failure(.unsupportedFilter, name) }
    guard inputs.count == 0 else { throw wrongArguments(name, inputs, takes: "no such arguments") }
    return result
  }

  private func textFilter(
    _ name: String, _ value: TemplateValue, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue? {
    switch name {
    case "upper", "lower", "capitalize": return try string(try text(of: value).recased(name))
    case "string", "safe": return try string(try text(of: value))
    case "trim":
      let characters = try optionalText(inputs.next("chars"), name)
      let text = try text(of: value)
      try spend(bytes: text.utf8.count)
      return .string(text.stripped(of: characters))
    case "title": return try string(Self.titled(try text(of: value)))
    case "replace":
      let old = try requiredText(inputs.next("old"), name)
      let new = try requiredText(inputs.next("new"), name)
      let count = inputs.next("count")
      if case .some(.none) = count { return try replaced(try text(of: value), old, new, -1) }
      return try replaced(try text(of: value), old, new, try wholeNumber(count, name) ?? -1)
    case "escape", "e", "forceescape":
      var text = try text(of: value)
      for (mark, entity) in [
        ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ("\"", "&#34;"),
      ] { text = try replaced(text, mark, entity, -1).text }
      return .string(text)
    case "indent": return try indented(try text(of: value), &inputs)
    case "wordcount": return .integer(try text(of: value).split(by: nil, at: .max, fromEnd: false).count)
    default: return nil
    }
  }

  /// Words begin behind white space, hyphens and opening brackets.
  private static func titled(_ text: String) -> String {
    var result = ""
    var isFirst = true
    for scalar in text.unicodeScalars {
      if scalar.isTemplateSpace || ["-", "(", "{", "[", "<"].contains(scalar) {
        isFirst = true
        result.unicodeScalars.append(scalar)
      } else {
        result += isFirst ? scalar.properties.uppercaseMapping : scalar.properties.lowercaseMapping
        isFirst = false
      }
    }
    return result
  }

  private func indented(_ text: String, _ inputs: inout TemplateInputs) throws(TemplateError) -> TemplateValue
  {
    let width = inputs.next("width") ?? .integer(4)
    let first = inputs.next("first")?.isTrue ?? false
    let blank = inputs.next("blank")?.isTrue ?? false
    var indentation = ""
    if case .string(let text) = width {
      indentation = text
    } else {
      indentation = try arithmetic(.string(" "), "*", width).text
    }
    var lines = (text + "\n").lines(keepingEnds: false)
    if blank || lines.isEmpty {
      let joined = try joined(lines.map(TemplateValue.string), by: "\n" + indentation) {
        (value) throws(TemplateError) in value.text
      }
      return try string((first ? indentation : "") + joined.text)
    }
    for index in lines.indices.dropFirst() where !lines[index].isEmpty {
      try spend(bytes: indentation.utf8.count)
      lines[index] = indentation + lines[index]
    }
    let whole = try joined(lines.map(TemplateValue.string), by: "\n") { (value) throws(TemplateError) in
      value.text
    }
    return try string((first ? indentation : "") + whole.text)
  }

  private func valueFilter(
    _ name: String, _ value: TemplateValue, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue? {
    switch name {
    case "default", "d":
      let standard = inputs.next("default_value") ?? .string("")
      let alsoFalse = inputs.next("boolean")?.isTrue ?? false
      return value.isUndefined || alsoFalse && !value.isTrue ? standard : value
    case "tojson": return try json(value, &inputs)
    case "int":
      let standard = inputs.next("default") ?? .integer(0)
      if let base = inputs.next("base"), base.wholeNumber != 10 {
        throw failure(.invalidValue, "the base of int", expected: "10", found: base.text)
      }
      return Self.number(value).flatMap {
        $0.wholeNumber ?? $0.number.flatMap { Int(exactly: $0.rounded(.towardZero)) }
      }
      .map(TemplateValue.integer) ?? standard
    case "float":
      let standard = inputs.next("default") ?? .double(0)
      return Self.number(value)?.number.map(TemplateValue.double) ?? standard
    case "abs":
      if case .double(let number) = value { return .double(abs(number)) }
      guard let number = value.wholeNumber else { throw mismatch(name, "a number", value) }
      return number < 0 ? try negated(value) : .integer(number)
    case "round": return try rounded(value, &inputs)
    default: return nil
    }
  }

  private static func number(_ value: TemplateValue) -> TemplateValue? {
    guard case .string(let text) = value else {
      return value.wholeNumber.map(TemplateValue.integer) ?? value.number.map(TemplateValue.double)
    }
    let trimmed = text.stripped(of: nil)
    guard
      trimmed.utf8.allSatisfy({ (0x30...0x39).contains($0) || [0x2B, 0x2D, 0x2E, 0x45, 0x65].contains($0) })
    else { return nil }
    return Int(trimmed).map(TemplateValue.integer) ?? Double(trimmed).map(TemplateValue.double)
  }

  private func rounded(_ value: TemplateValue, _ inputs: inout TemplateInputs) throws(TemplateError)
    -> TemplateValue
  {
    let precision = try wholeNumber(inputs.next("precision"), "round") ?? 0
    let method = try optionalText(inputs.next("method"), "round") ?? "common"
    guard let number = value.number else { throw mismatch("round", "a number", value) }
    guard (0...15).contains(precision) else {
      throw failure(.invalidValue, "the precision of round", expected: "0 to 15", found: "\(precision)")
    }
    if method == "common", let whole = value.wholeNumber { return .integer(whole) }
    var scale = 1.0
    for _ in 0..<precision { scale *= 10 }
    let scaled = number * scale
    guard scaled.isFinite else { return .double(number) }
    switch method {
    case "common": return .double(scaled.rounded(.toNearestOrEven) / scale)
    case "ceil": return .double(scaled.rounded(.up) / scale)
    case "floor": return .double(scaled.rounded(.down) / scale)
    default:
      throw failure(.invalidValue, "the method of round", expected: "common, ceil or floor", found: method)
    }
  }

  private func json(_ value: TemplateValue, _ inputs: inout TemplateInputs) throws(TemplateError)
    -> TemplateValue
  {
    var writer = TemplateJSONWriter(limit: TemplateLimits.outputBytes)
    writer.escapesAll = inputs.next("ensure_ascii")?.isTrue ?? false
    switch inputs.next("indent") {
    case nil, .some(.none): break
    case .string(let text)?: writer.indentation = text
    case let width?: writer.indentation = try arithmetic(.string(" "), "*", width).text
    }
    if writer.indentation != nil { writer.separators.item = "," }
    switch inputs.next("separators") {
    case nil, .some(.none): break
    case let pair?:
      let texts = try iterated(pair, by: "tojson")
      guard texts.count == 2 else { throw mismatch("tojson", "two separators", pair) }
      writer.separators = (try requiredText(texts[0], "tojson"), try requiredText(texts[1], "tojson"))
    }
    writer.sortsKeys = inputs.next("sort_keys")?.isTrue ?? false
    do throws(TemplateJSONWriter.Refusal) {
      try writer.write(value)
    } catch {
      guard error.type != nil else { throw limit("\(TemplateLimits.outputBytes >> 20) MiB of text") }
      throw mismatch("tojson", "what JSON can hold", value)
    }
    return try string(writer.text)
  }
}
