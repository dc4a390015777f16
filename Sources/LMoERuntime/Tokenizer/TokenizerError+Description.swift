import LMoECore

extension TokenizerError: CustomStringConvertible {
  /// One sentence that names the file, the thing and the remedy.
  public var description: String {
    let path = path.printable
    let place = (place ?? "?").printable
    let name = "\"\(Self.shortened(name ?? "?").printable)\""
    let expected = Self.shortened(expected ?? "?").printable
    let found = Self.shortened(found ?? "?").printable
    switch code {
    case .noTokenizer:
      return "\(path) has no tokenizer.json\(self.found.map { " (it has \($0.printable))" } ?? ""); "
        + "save the tokenizer of the model with save_pretrained and import again"
    case .invalidDocument: return "\(path) is not a tokenizer: \(found)"
    case .unsupportedModel:
      return "\(path): the tokenizer is of the kind \(found), and this tool knows only \(expected)"
    case .unsupportedComponent:
      return "\(path): \(place) is of the kind \(name), which this tool does not know; "
        + "it would make other tokens than the model was trained on"
    case .unsupportedOption:
      return "\(path): \(place) has \(name) set to \(found), and this tool knows only \(expected)"
    case .unsupportedPattern:
      return "\(path): \(place) splits text by \(name), which is none of the patterns that this tool knows"
    case .missingField: return "\(path): \(place) lacks \(name); the file is damaged"
    case .invalidField: return "\(path): \(place) has \(found) for \(name), and needs \(expected)"
    case .duplicateToken: return "\(path): the token \(name) stands twice in \(place)"
    case .duplicateNumber:
      return "\(path): the tokens \(name) and \"\(found)\" have the same number, \(expected)"
    case .numberOutOfRange:
      return "\(path): the token \(name) has the number \(found), far beyond the \(expected) tokens there are"
    case .unknownToken: return "\(path): \(place) names the token \(name), which is not in the vocabulary"
    case .duplicateMerge: return "\(path): \(place) joins \(name) a second time"
    case .invalidMerge: return "\(path): \(place) is \(found), and needs \(expected)"
    case .mismatchedToken:
      return "\(path): the added token \(name) has the number \(found) where the vocabulary makes it "
        + "\(expected); save the tokenizer again with save_pretrained"
    case .numberWithoutToken:
      return "\(path) has no token with the number \(found); numbers go up to \(expected)"
    }
  }

  /// Names in files can have any length.
  private static func shortened(_ text: String) -> String {
    text.utf8.count <= 200 ? text : String(String.UnicodeScalarView(text.unicodeScalars.prefix(197))) + "…"
  }
}
