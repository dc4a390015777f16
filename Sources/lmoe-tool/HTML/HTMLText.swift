import LMoECore

extension String {
  /// The text in HTML, in an element or a quoted attribute; control characters shown.
  var html: String {
    var result = ""
    for scalar in printable.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

extension JSON {
  /// The text in a `script` element: nothing in it ends the element or a line of a script.
  var script: String {
    var result = ""
    for scalar in serialized().unicodeScalars {
      switch scalar.value {
      // < > & and the separators of lines and paragraphs, which JSON has in strings only.
      case 0x3C, 0x3E, 0x26, 0x2028, 0x2029:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
