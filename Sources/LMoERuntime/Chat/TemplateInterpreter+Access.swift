/// Attributes, items, slices and iteration.
extension TemplateInterpreter {
  /// `owner.name`: a method, else the member of that name.
  func attribute(_ name: String, of owner: TemplateValue) throws(TemplateError) -> TemplateValue {
    switch owner {
    case .undefined(let variable):
      throw failure(.undefined, variable, expected: "asked for \"\(name)\"")
    case .namespace(let namespace): return namespace.members.value(of: name) ?? .undefined(name)
    case .loop(let loop):
      if ["cycle", "changed"].contains(name) { return .method(TemplateMethod(name, of: owner)) }
      return loop.attribute(name) ?? .undefined("loop.\(name)")
    case .macro(let macro) where name == "name": return .string(macro.macro.name)
    default:
      if let method = try method(name, of: owner) { return method }
      if case .dictionary(let dictionary) = owner, let value = dictionary.value(of: name) { return value }
      return .undefined(name)
    }
  }

  private func method(_ name: String, of owner: TemplateValue) throws(TemplateError) -> TemplateValue? {
    let methods: Set<String>
    var changing: Set<String> = []
    switch owner {
    case .string: methods = Self.stringMethods
    case .dictionary: (methods, changing) = (Self.dictionaryMethods, Self.dictionaryChanges)
    case .list: (methods, changing) = (Self.listMethods, Self.listChanges)
    case .tuple: methods = ["count", "index"]
    default: return nil
    }
    if changing.contains(name) { throw failure(.mutation, name, found: "a \(owner.typeName)") }
    return methods.contains(name) ? .method(TemplateMethod(name, of: owner)) : nil
  }

  /// `owner[key]`: the member, else the attribute of that name.
  func item(_ key: TemplateValue, of owner: TemplateValue) throws(TemplateError) -> TemplateValue {
    switch owner {
    case .undefined(let variable):
      throw failure(.undefined, variable, expected: "asked for \"\(key.text)\"")
    case .dictionary(let dictionary):
      if try isKey(key), let value = dictionary.value(of: key) { return value }
    case .list(let elements), .tuple(let elements), .sequence(.range, let elements):
      if let place = key.wholeNumber.flatMap({ Self.place($0, in: elements.values.count) }) {
        return elements.values[place]
      }
    case .string(let text):
      guard let number = key.wholeNumber else { break }
      try spend(bytes: text.utf8.count)
      let scalars = text.unicodeScalars
      if let place = Self.place(number, in: scalars.count) {
        return .string(String(scalars[scalars.index(scalars.startIndex, offsetBy: place)]))
      }
    default: break
    }
    if case .string(let name) = key { return try attribute(name, of: owner) }
    return .undefined("item \(key.wholeNumber.map(String.init) ?? "?")")
  }

  private static func place(_ index: Int, in count: Int) -> Int? {
    let place = index < 0 ? index + count : index
    return place >= 0 && place < count ? place : nil
  }

  func slice(
    _ owner: TemplateValue, from first: Int?, to last: Int?, by step: Int?
  ) throws(TemplateError) -> TemplateValue {
    if step == 0 {
      throw failure(.invalidValue, "the step of a slice", expected: "another number", found: "0")
    }
    switch owner {
    case .string(let text):
      try spend(bytes: text.utf8.count)
      let scalars = Array(text.unicodeScalars)
      var result = String.UnicodeScalarView()
      for index in Self.indices(scalars.count, first, last, step ?? 1) { result.append(scalars[index]) }
      return .string(String(result))
    case .list(let elements):
      return try list(Self.indices(elements.values.count, first, last, step ?? 1).map { elements.values[$0] })
    case .tuple(let elements):
      let chosen = Self.indices(elements.values.count, first, last, step ?? 1).map { elements.values[$0] }
      return .tuple(try self.elements(chosen))
    case .undefined: throw mismatch("a slice", "a list or a text", owner)
    default: return .undefined("a slice of a \(owner.typeName)")
    }
  }

  private static func indices(_ count: Int, _ first: Int?, _ last: Int?, _ step: Int) -> [Int] {
    let (low, high) = step > 0 ? (0, count) : (-1, count - 1)
    func clamped(_ bound: Int?, or standard: Int) -> Int {
      guard let bound else { return standard }
      return min(max(bound < 0 ? bound + count : bound, low), high)
    }
    let start = clamped(first, or: step > 0 ? low : high)
    let end = clamped(last, or: step > 0 ? high : low)
    // Larger steps reach no further, and could overflow.
    let step = min(max(step, -count - 1), count + 1)
    return Array(stride(from: start, to: end, by: step))
  }

  /// What a loop goes through.
  func iterated(_ value: TemplateValue, by name: String) throws(TemplateError) -> [TemplateValue] {
    switch value {
    case .undefined: return []
    case .list(let elements), .tuple(let elements), .sequence(_, let elements):
      try spend(elements: elements.values.count)
      return elements.values
    case .dictionary(let dictionary):
      try spend(elements: dictionary.count)
      return dictionary.members.map(\.key)
    case .string(let text):
      try spend(elements: text.utf8.count)
      return text.unicodeScalars.map { .string(String($0)) }
    default: throw mismatch(name, "something to go through", value)
    }
  }
}
