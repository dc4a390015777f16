import LMoECore

extension TemplateValue {
  /// A value as it comes from a JSON document; nil where a number has no place in 64 bits.
  init?(_ json: JSON) {
    switch json {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .string(let text): self = .string(text)
    case .number(let number):
      if let value = number.integer(Int.self) {
        self = .integer(value)
      } else if number.text.utf8.contains(where: { [0x2E, 0x65, 0x45].contains($0) }),
        let value = Double(number.text)
      {
        self = .double(value)
      } else {
        return nil
      }
    case .array(let elements):
      let values = elements.compactMap { TemplateValue($0) }
      guard values.count == elements.count else { return nil }
      self = .list(TemplateElements(values))
    case .object(let object):
      var dictionary = TemplateDictionary()
      for member in object.members {
        guard let value = TemplateValue(member.value) else { return nil }
        dictionary.set(member.key, value)
      }
      self = .dictionary(dictionary)
    }
  }
}

/// Writes values as Python's `json.dumps` does.
struct TemplateJSONWriter {
  var indentation: String?
  var separators = (item: ", ", key: ": ")
  var sortsKeys = false
  /// Whether only ASCII is written.
  var escapesAll = false
  var limit: Int
  private(set) var text = ""

  init(limit: Int) { self.limit = limit }

  /// Why a value has no JSON text: Python's name of its type, or nil where the text would be too long.
  struct Refusal: Error { let type: String? }

  mutating func write(_ value: TemplateValue, level: Int = 0) throws(Refusal) {
    if text.utf8.count > limit { throw Refusal(type: nil) }
    switch value {
    case .none: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += String(value)
    case .double(let value): text += Self.text(of: value)
    case .string(let string): write(string)
    case .list(let elements), .tuple(let elements):
      try list("[", "]", elements.values, level) { (writer, element) throws(Refusal) in
        try writer.write(element, level: level + 1)
      }
    case .dictionary(let dictionary):
      var members: [(key: String, value: TemplateValue)] = []
      for member in dictionary.members { members.append((try key(member.key), member.value)) }
      if sortsKeys { members.sort { ByteKey($0.key) < ByteKey($1.key) } }
      try list("{", "}", members, level) { (writer, member) throws(Refusal) in
        writer.write(member.key)
        writer.text += writer.separators.key
        try writer.write(member.value, level: level + 1)
      }
    default: throw Refusal(type: value.typeName)
    }
  }

  private mutating func list<Element>(
    _ open: String, _ close: String, _ elements: [Element], _ level: Int,
    _ writeElement: (inout TemplateJSONWriter, Element) throws(Refusal) -> Void
  ) throws(Refusal) {
    text += open
    for (index, element) in elements.enumerated() {
      if index > 0 { text += separators.item }
      newline(level + 1)
      try writeElement(&self, element)
    }
    if !elements.isEmpty { newline(level) }
    text += close
  }

  private mutating func newline(_ level: Int) {
    guard let indentation else { return }
    text += "\n"
    for _ in 0..<level { text += indentation }
  }

  private func key(_ value: TemplateValue) throws(Refusal) -> String {
    switch value {
    case .string(let text): return text
    case .none: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .integer(let value): return String(value)
    case .double(let value): return Self.text(of: value)
    default: throw Refusal(type: value.typeName)
    }
  }

  private static func text(of value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
    return TemplateText.text(of: value)
  }

  private mutating func write(_ string: String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\u{8}": text += "\\b"
      case "\u{C}": text += "\\f"
      case _ where scalar.value < 0x20 || escapesAll && scalar.value > 0x7E:
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16)
          text += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
        }
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
