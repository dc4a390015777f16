import LMoECore

extension TemplateError: CustomStringConvertible {
  /// One sentence that names the template, the line, the thing and the remedy.
  public var description: String {
    let place = path.printable + (line.map { ", line \($0)" } ?? "")
    let name = "\"\(Self.shortened(name ?? "?"))\""
    let expected = Self.shortened(expected ?? "?")
    let found = Self.shortened(found ?? "?")
    switch code {
    case .noTemplate:
      return "\(place) has no chat template; save the tokenizer of a chat model with save_pretrained and "
        + "import again, or use plain text"
    case .noNamedTemplate:
      return "\(place) has no chat template named \(name); it has \(found)"
    case .invalidDocument: return "\(place) is not a chat template: \(found)"
    case .syntax: return "\(place): the template has \(found) where \(expected) belongs"
    case .unsupportedTag: return "\(place): this tool does not know the tag \(name) of chat templates"
    case .unsupportedFilter: return "\(place): this tool does not know the filter \(name) of chat templates"
    case .unsupportedTest: return "\(place): this tool does not know the test \(name) of chat templates"
    case .unsupportedMethod: return "\(place): \(found) has no method or attribute \(name) that can be used"
    case .mutation:
      return "\(place): \(name) would change \(found), which chat templates may not; use a namespace"
    case .undefined:
      return "\(place): \(name) is undefined\(self.expected == nil ? "" : " and cannot be \(expected)"); "
        + "the template needs it"
    case .wrongType: return "\(place): \(name) needs \(expected) and was given \(found)"
    case .invalidArguments: return "\(place): \(name) takes \(expected), and was called with \(found)"
    case .invalidValue: return "\(place): \(name) cannot be \(found); it must be \(expected)"
    case .overflow: return "\(place): \(name) gives a number beyond 64 bits"
    case .divisionByZero: return "\(place): \(name) divides by zero"
    case .refused: return "\(place): the template refuses the conversation: \(found)"
    case .inconsistent:
      return
        "\(place): the template writes the beginning of the conversation differently once message "
        + "\(self.name ?? "?") and what follows are there, so what the model said cannot be told apart; give "
        + "each answer a line of its own, with \"weight\": 0 on the answers before it"
    case .limit: return "\(place): the template needs more than \(expected), so it was stopped"
    }
  }

  /// Texts in templates can have any length.
  private static func shortened(_ text: String) -> String {
    guard text.utf8.count > 400 else { return text.printable }
    return String(String.UnicodeScalarView(text.unicodeScalars.prefix(397))).printable + "…"
  }
}
