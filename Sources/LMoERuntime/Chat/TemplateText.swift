/// How Python writes values.
enum TemplateText {
  /// `repr` of a float: the shortest digits, with an exponent only for the very large and small.
  static func text(of value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    if value == 0 { return value.sign == .minus ? "-0.0" : "0.0" }
    var digits: [UInt8] = []
    var exponent = 0
    var point: Int?
    let written = Array(abs(value).description.utf8)
    for (index, byte) in written.enumerated() {
      if byte == UInt8(ascii: "e") {
        exponent = Int(String(decoding: written[(index + 1)...], as: UTF8.self)) ?? 0
        break
      }
      if byte == UInt8(ascii: ".") { point = digits.count } else { digits.append(byte) }
    }
    // The value is 0.digits × 10^place.
    var place = (point ?? digits.count) + exponent
    while digits.count > 1, digits.last == 0x30 { digits.removeLast() }
    while digits.count > 1, digits.first == 0x30 {
      digits.removeFirst()
      place -= 1
    }
    func text(_ bytes: some Sequence<UInt8>) -> String { String(decoding: Array(bytes), as: UTF8.self) }
    let sign = value < 0 ? "-" : ""
    if place > 16 || place < -3 {
      let fraction = digits.count > 1 ? "." + text(digits.dropFirst()) : ""
      let power = abs(place - 1)
      return
        "\(sign)\(text(digits.prefix(1)))\(fraction)e\(place < 1 ? "-" : "+")\(power < 10 ? "0" : "")\(power)"
    }
    if place <= 0 { return "\(sign)0.\(String(repeating: "0", count: -place))\(text(digits))" }
    if place >= digits.count {
      return "\(sign)\(text(digits))\(String(repeating: "0", count: place - digits.count)).0"
    }
    return "\(sign)\(text(digits[..<place])).\(text(digits[place...]))"
  }

  /// `repr` of a string.
  static func quoted(_ string: String) -> String {
    let scalars = string.unicodeScalars
    let quote: Unicode.Scalar = scalars.contains("'") && !scalars.contains("\"") ? "\"" : "'"
    var result = String.UnicodeScalarView()
    result.append(quote)
    for scalar in scalars {
      switch scalar {
      case quote, "\\":
        result.append("\\")
        result.append(scalar)
      case "\n": result.append(contentsOf: "\\n".unicodeScalars)
      case "\r": result.append(contentsOf: "\\r".unicodeScalars)
      case "\t": result.append(contentsOf: "\\t".unicodeScalars)
      case " "..."~": result.append(scalar)
      default:
        if isPrintable(scalar) {
          result.append(scalar)
        } else {
          let hex = String(scalar.value, radix: 16)
          let (mark, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
          let zeros = String(repeating: "0", count: max(0, width - hex.utf8.count))
          result.append(contentsOf: "\\\(mark)\(zeros)\(hex)".unicodeScalars)
        }
      }
    }
    result.append(quote)
    return String(result)
  }

  private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
      .spaceSeparator:
      false
    default: true
    }
  }
}

extension TemplateValue {
  /// What `{{ value }}` gives: Python's `str`.
  var text: String {
    switch self {
    case .string(let text): return text
    case .undefined: return ""
    default:
      var output = ""
      write(to: &output, level: 0)
      return output
    }
  }

  private func write(to output: inout String, level: Int) {
    // Namespaces can hold each other; longer texts than these are refused by whoever asked.
    guard level < 256, output.utf8.count <= TemplateLimits.outputBytes else {
      output += "..."
      return
    }
    switch self {
    case .undefined: output += "Undefined"
    case .none: output += "None"
    case .bool(let value): output += value ? "True" : "False"
    case .integer(let value): output += String(value)
    case .double(let value): output += TemplateText.text(of: value)
    case .string(let text): output += TemplateText.quoted(text)
    case .list(let elements): Self.write("[", elements, "]", to: &output, level)
    case .tuple(let elements):
      Self.write("(", elements, elements.values.count == 1 ? ",)" : ")", to: &output, level)
    case .dictionary(let dictionary): Self.write(dictionary, to: &output, level)
    case .sequence(.generator, _): output += "<generator>"
    case .sequence(.range, let elements): output += "range(0, \(elements.values.count))"
    case .sequence(let kind, let elements):
      output += "dict_\(kind)("
      Self.write("[", elements, "])", to: &output, level)
    case .namespace(let namespace):
      output += "<Namespace "
      Self.write(namespace.members, to: &output, level)
      output += ">"
    case .loop(let loop): output += "<LoopContext \(loop.index + 1)/\(loop.values.count)>"
    case .macro(let macro): output += "<Macro \(TemplateText.quoted(macro.macro.name))>"
    case .function(let name): output += "<function \(name)>"
    case .method(let method): output += "<method \(method.name)>"
    }
  }

  private static func write(
    _ open: String, _ elements: TemplateElements, _ close: String, to output: inout String, _ level: Int
  ) {
    output += open
    for (index, element) in elements.values.enumerated() {
      if index > 0 { output += ", " }
      element.write(to: &output, level: level + 1)
    }
    output += close
  }

  private static func write(_ dictionary: TemplateDictionary, to output: inout String, _ level: Int) {
    output += "{"
    for (index, member) in dictionary.members.enumerated() {
      if index > 0 { output += ", " }
      member.key.write(to: &output, level: level + 1)
      output += ": "
      member.value.write(to: &output, level: level + 1)
    }
    output += "}"
  }
}
