import LMoECore

/// Filters of lists.
extension TemplateInterpreter {
  func sequenceFilter(
    _ name: String, _ value: TemplateValue, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue? {
    switch name {
    case "length", "count": return .integer(try length(of: value))
    case "list": return try list(try iterated(value, by: name))
    case "first": return try iterated(value, by: name).first ?? .undefined("the first item of nothing")
    case "last":
      if case .sequence(.generator, _) = value { throw mismatch(name, "a list", value) }
      return try iterated(value, by: name).last ?? .undefined("the last item of nothing")
    case "items":
      if value.isUndefined { return .sequence(.generator, TemplateElements([])) }
      guard case .dictionary(let dictionary) = value else { throw mismatch(name, "a dictionary", value) }
      return .sequence(.generator, try pairs(dictionary))
    case "reverse":
      if case .string(let text) = value {
        try spend(bytes: text.utf8.count)
        return .string(String(text.unicodeScalars.reversed(), joined: ()))
      }
      return .sequence(.generator, try elements(try iterated(value, by: name).reversed()))
    case "join":
      let separator = inputs.next("d")?.text ?? ""
      let attribute = inputs.next("attribute")
      var values = try iterated(value, by: name)
      if let attribute {
        values = try values.map { (value) throws(TemplateError) in try path(attribute, in: value) }
      }
      return try joined(values, by: separator) { (value) throws(TemplateError) in value.text }
    case "sort", "unique", "min", "max": return try ordered(name, value, &inputs)
    case "dictsort": return try sortedPairs(value, &inputs)
    case "sum":
      let attribute = inputs.next("attribute")
      var sum = inputs.next("start") ?? .integer(0)
      for element in try iterated(value, by: name) {
        sum = try arithmetic(
          sum, "+", try attribute.map { (a) throws(TemplateError) in try path(a, in: element) } ?? element)
      }
      return sum
    default: return nil
    }
  }

  private func length(of value: TemplateValue) throws(TemplateError) -> Int {
    switch value {
    case .undefined: return 0
    case .string(let text):
      try spend(bytes: text.utf8.count)
      return text.unicodeScalars.count
    case .list(let elements), .tuple(let elements): return elements.values.count
    case .dictionary(let dictionary): return dictionary.count
    case .loop(let loop): return loop.values.count
    case .sequence(let kind, let elements) where kind != .generator: return elements.values.count
    default: throw mismatch("length", "a list, a dictionary or a text", value)
    }
  }

  /// What an attribute with dots in it leads to.
  func path(
    _ attribute: TemplateValue, in value: TemplateValue, default standard: TemplateValue? = nil
  ) throws(TemplateError) -> TemplateValue {
    guard case .string(let text) = attribute else {
      let found = try item(attribute, of: value)
      return found.isUndefined ? standard ?? found : found
    }
    var result = value
    for part in text.split(by: ".", at: .max, fromEnd: false) {
      let isNumber = !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) }
      result = try item(
        isNumber ? Int(part).map(TemplateValue.integer) ?? .string(part) : .string(part), of: result)
      if result.isUndefined, let standard { result = standard }
    }
    return result
  }

  private func key(
    of value: TemplateValue, _ attribute: TemplateValue?, caseSensitive: Bool
  ) throws(TemplateError) -> TemplateValue {
    var key = value
    if let attribute, !isNone(attribute) { key = try path(attribute, in: value) }
    if !caseSensitive, case .string(let text) = key { return try string(text.recased("lower")) }
    return key
  }

  private func isNone(_ value: TemplateValue) -> Bool {
    if case .none = value { true } else { false }
  }

  private func ordered(
    _ name: String, _ value: TemplateValue, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    let isReversed = name == "sort" ? inputs.next("reverse")?.isTrue ?? false : false
    let caseSensitive = inputs.next("case_sensitive")?.isTrue ?? false
    let attribute = inputs.next("attribute")
    var keyed: [(key: TemplateValue, value: TemplateValue)] = []
    for element in try iterated(value, by: name) {
      keyed.append((try key(of: element, attribute, caseSensitive: caseSensitive), element))
    }
    switch name {
    case "sort": return try list(try sorted(keyed, reversed: isReversed).map(\.value))
    case "unique":
      var seen = TemplateDictionary()
      var chosen: [TemplateValue] = []
      for (key, element) in keyed {
        if try isKey(key), seen.value(of: key) != nil { continue }
        try set(key, .none, in: &seen)
        chosen.append(element)
      }
      return .sequence(.generator, try elements(chosen))
    default:
      guard var best = keyed.first else { return .undefined("the \(name) of nothing") }
      for candidate in keyed.dropFirst() {
        let isBetter =
          name == "min" ? try precedes(candidate.key, best.key) : try precedes(best.key, candidate.key)
        if isBetter { best = candidate }
      }
      return best.value
    }
  }

  /// Sorted, equal ones in their order.
  private func sorted(
    _ values: [(key: TemplateValue, value: TemplateValue)], reversed: Bool
  ) throws(TemplateError) -> [(key: TemplateValue, value: TemplateValue)] {
    guard values.count > 1 else { return values }
    let middle = values.count / 2
    let left = try sorted(Array(values[..<middle]), reversed: reversed)
    let right = try sorted(Array(values[middle...]), reversed: reversed)
    var result: [(key: TemplateValue, value: TemplateValue)] = []
    var (i, j) = (0, 0)
    while i < left.count, j < right.count {
      let takesRight =
        reversed ? try precedes(left[i].key, right[j].key) : try precedes(right[j].key, left[i].key)
      result.append(takesRight ? right[j] : left[i])
      if takesRight { j += 1 } else { i += 1 }
    }
    return result + left[i...] + right[j...]
  }

  private func sortedPairs(
    _ value: TemplateValue, _ inputs: inout TemplateInputs
  ) throws(TemplateError) -> TemplateValue {
    guard case .dictionary(let dictionary) = value else { throw mismatch("dictsort", "a dictionary", value) }
    let caseSensitive = inputs.next("case_sensitive")?.isTrue ?? false
    let by = inputs.next("by")?.text ?? "key"
    let isReversed = inputs.next("reverse")?.isTrue ?? false
    guard by == "key" || by == "value" else {
      throw failure(.invalidValue, "\"by\" of dictsort", expected: "key or value", found: by)
    }
    var keyed: [(key: TemplateValue, value: TemplateValue)] = []
    for (member, pair) in zip(dictionary.members, try pairs(dictionary).values) {
      let sorting = by == "key" ? member.key : member.value
      keyed.append((try key(of: sorting, nil, caseSensitive: caseSensitive), pair))
    }
    return try list(try sorted(keyed, reversed: isReversed).map(\.value))
  }
}
