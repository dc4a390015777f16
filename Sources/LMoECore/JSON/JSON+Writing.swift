extension JSON {
  /// The JSON text: on one line, or indented by two spaces with a newline at the end.
  public func serialized(pretty: Bool = false) -> String {
    var output = ""
    write(to: &output, indentation: pretty ? 0 : nil)
    if pretty { output += "\n" }
    return output
  }

  private func write(to output: inout String, indentation: Int?) {
    switch self {
    case .null: output += "null"
    case .bool(let value): output += value ? "true" : "false"
    case .number(let number): output += number.text
    case .string(let text): Self.write(text, to: &output)
    case .array(let elements):
      Self.writeList("[", "]", elements, to: &output, indentation) { element, output, deeper in
        element.write(to: &output, indentation: deeper)
      }
    case .object(let object):
      Self.writeList("{", "}", object.members, to: &output, indentation) { member, output, deeper in
        Self.write(member.key, to: &output)
        output += deeper == nil ? ":" : ": "
        member.value.write(to: &output, indentation: deeper)
      }
    }
  }

  private static func writeList<Element>(
    _ open: String, _ close: String, _ elements: [Element], to output: inout String, _ indentation: Int?,
    _ writeElement: (Element, inout String, Int?) -> Void
  ) {
    output += open
    let deeper = indentation.map { $0 + 1 }
    for (index, element) in elements.enumerated() {
      if index > 0 { output += "," }
      if let deeper { output += "\n" + String(repeating: "  ", count: deeper) }
      writeElement(element, &output, deeper)
    }
    if let indentation, !elements.isEmpty {
      output += "\n" + String(repeating: "  ", count: indentation)
    }
    output += close
  }

  private static func write(_ text: String, to output: inout String) {
    output += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": output += "\\\""
      case "\\": output += "\\\\"
      case "\n": output += "\\n"
      case "\r": output += "\\r"
      case "\t": output += "\\t"
      case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
        let digits = String(scalar.value, radix: 16)
        output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: output.unicodeScalars.append(scalar)
      }
    }
    output += "\""
  }
}
