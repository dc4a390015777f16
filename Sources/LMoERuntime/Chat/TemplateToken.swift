/// A token of a template.
struct TemplateToken: Sendable {
  /// What it is; `data` is text between tags.
  enum Kind: Hashable, Sendable {
    case data(String)
    case printBegin
    case printEnd
    case blockBegin
    case blockEnd
    case name(String)
    case string(String)
    case integer(Int)
    case double(Double)
    case symbol(String)
    case end
  }

  let kind: Kind
  let line: Int

  /// For messages.
  var description: String {
    switch kind {
    case .data: "text"
    case .printBegin: "\"{{\""
    case .printEnd: "\"}}\""
    case .blockBegin: "\"{%\""
    case .blockEnd: "\"%}\""
    case .name(let name): "\"\(name)\""
    case .string: "a string"
    case .integer, .double: "a number"
    case .symbol(let symbol): "\"\(symbol)\""
    case .end: "the end of the template"
    }
  }
}

extension Unicode.Scalar {
  /// What Python calls a space, in regular expressions and `strip`.
  var isTemplateSpace: Bool {
    switch value {
    case 9...13, 28...32, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  var isTemplateDigit: Bool { (0x30...0x39).contains(value) }

  /// A letter, a digit or an underscore.
  var isTemplateWord: Bool {
    switch value {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F: true
    case 0..<0x80: false
    default: properties.isIDContinue
    }
  }
}
