/// Strings as Python's methods treat them: sequences of code points.
extension String {
  init(_ scalars: some Sequence<Unicode.Scalar>, joined: Void = ()) {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    self = String(view)
  }

  /// Without characters at the ends: those of `characters`, else white space.
  func stripped(of characters: String?, left: Bool = true, right: Bool = true) -> String {
    let set = characters.map { Set($0.unicodeScalars) }
    func goes(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? scalar.isTemplateSpace }
    var rest = unicodeScalars[...]
    if left { rest = rest.drop(while: goes) }
    if right { while let last = rest.last, goes(last) { rest.removeLast() } }
    return String(rest)
  }

  /// `upper`, `lower`, `title` or `capitalize`.
  func recased(_ name: String) -> String {
    switch name {
    case "upper": return unicodeScalars.map(\.properties.uppercaseMapping).joined()
    case "lower": return unicodeScalars.map(\.properties.lowercaseMapping).joined()
    case "capitalize":
      guard let first = unicodeScalars.first else { return self }
      return first.properties.titlecaseMapping
        + unicodeScalars.dropFirst().map(\.properties.lowercaseMapping).joined()
    default:
      var result = ""
      var isInside = false
      for scalar in unicodeScalars {
        let properties = scalar.properties
        result += isInside ? properties.lowercaseMapping : properties.titlecaseMapping
        isInside = properties.isCased
      }
      return result
    }
  }

  /// The parts between separators, or between runs of white space.
  func split(by separator: String?, at limit: Int, fromEnd: Bool) -> [String] {
    guard let separator else { return words(limit, fromEnd: fromEnd) }
    let bytes = Array(utf8)
    var places: [Int]
    if fromEnd {
      // Found backwards, as overlapping separators can be cut in two ways.
      let reversed = ByteSearch(reversing: separator).all(in: bytes.reversed(), limit: limit)
      places = reversed.map { bytes.count - $0 - separator.utf8.count }.reversed()
    } else {
      places = ByteSearch(separator).all(in: bytes, limit: limit)
    }
    places.append(bytes.count)
    var start = 0
    return places.map { place in
      defer { start = place + separator.utf8.count }
      return String(decoding: bytes[start..<place], as: UTF8.self)
    }
  }

  private func words(_ limit: Int, fromEnd: Bool) -> [String] {
    let scalars = Array(unicodeScalars)
    var ranges: [Range<Int>] = []
    var start: Int?
    for (index, scalar) in scalars.enumerated() {
      if scalar.isTemplateSpace {
        if let first = start { ranges.append(first..<index) }
        start = nil
      } else if start == nil {
        start = index
      }
    }
    if let first = start { ranges.append(first..<scalars.count) }
    func text(_ range: Range<Int>) -> String { String(scalars[range], joined: ()) }
    guard ranges.count > limit else { return ranges.map(text) }
    if fromEnd {
      let rest = text(0..<ranges[ranges.count - limit - 1].upperBound)
      return [rest] + ranges.suffix(limit).map(text)
    }
    let rest = text(ranges[limit].lowerBound..<scalars.count)
    return ranges.prefix(limit).map(text) + [rest]
  }

  func lines(keepingEnds: Bool) -> [String] {
    let scalars = Array(unicodeScalars)
    var result: [String] = []
    var start = 0
    var index = 0
    while index < scalars.count {
      let value = scalars[index].value
      index += 1
      switch value {
      case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029:
        let end = index - 1
        if value == 0x0D, index < scalars.count, scalars[index] == "\n" { index += 1 }
        result.append(String(scalars[start..<(keepingEnds ? index : end)], joined: ()))
        start = index
      default: break
      }
    }
    if start < scalars.count { result.append(String(scalars[start...], joined: ())) }
    return result
  }

  /// `isdigit` and its like.
  func isOfKind(_ name: String) -> Bool {
    let scalars = unicodeScalars
    func all(_ holds: (Unicode.Scalar.Properties) -> Bool) -> Bool {
      !scalars.isEmpty && scalars.allSatisfy { holds($0.properties) }
    }
    func isLetter(_ properties: Unicode.Scalar.Properties) -> Bool {
      switch properties.generalCategory {
      case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
      default: false
      }
    }
    switch name {
    case "isdigit": return all { $0.numericType == .decimal || $0.numericType == .digit }
    case "isnumeric": return all { $0.numericType != nil }
    case "isalpha": return all(isLetter)
    case "isalnum": return all { isLetter($0) || $0.numericType != nil }
    case "isspace": return !scalars.isEmpty && scalars.allSatisfy(\.isTemplateSpace)
    case "isupper":
      return scalars.contains { $0.properties.isUppercase }
        && !scalars.contains {
          $0.properties.isLowercase || $0.properties.generalCategory == .titlecaseLetter
        }
    default:
      return scalars.contains { $0.properties.isLowercase }
        && !scalars.contains {
          $0.properties.isUppercase || $0.properties.generalCategory == .titlecaseLetter
        }
    }
  }
}
