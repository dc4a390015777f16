import LMoECore

/// Reads one component of a tokenizer: a JSON object with a `type` and options.
///
/// What is not asked for must not be there: an option nobody knows may change the tokens.
struct ComponentReader {
  let path: String
  /// Where it is: "pre_tokenizer.pretokenizers[0]".
  let place: String
  /// The component's `type`.
  let type: String
  private let object: JSONObject
  private var known: Set<ByteKey> = ["type"]

  /// Reads `json`.
  init(_ json: JSON, path: String, place: String) throws(TokenizerError) {
    self.path = path
    self.place = place
    guard let object = json.object else {
      throw TokenizerError(.invalidDocument, path: path, found: "\(place) is no object")
    }
    self.object = object
    guard let type = object["type"]?.string else {
      throw TokenizerError(.missingField, path: path, place: place, name: "type")
    }
    self.type = type
  }

  /// The value of an option, null taken for absence.
  mutating func value(_ name: String) -> JSON? {
    known.insert(ByteKey(name))
    guard let value = object[name], !value.isNull else { return nil }
    return value
  }

  mutating func bool(_ name: String, default fallback: Bool? = nil) throws(TokenizerError) -> Bool {
    guard let value = value(name) else {
      if let fallback { return fallback }
      throw missing(name)
    }
    guard let bool = value.bool else { throw invalid(name, value, "true or false") }
    return bool
  }

  mutating func string(_ name: String) throws(TokenizerError) -> String {
    guard let value = value(name) else { throw missing(name) }
    guard let string = value.string else { throw invalid(name, value, "a text") }
    return string
  }

  /// A text of exactly one scalar, as its bytes.
  mutating func scalar(_ name: String) throws(TokenizerError) -> [UInt8] {
    let text = try string(name)
    guard text.unicodeScalars.count == 1 else { throw invalid(name, .string(text), "one character") }
    return Array(text.utf8)
  }

  mutating func count(_ name: String) throws(TokenizerError) -> Int {
    guard let value = value(name) else { throw missing(name) }
    guard let count = value.int, count >= 0 else { throw invalid(name, value, "a number from 0 up") }
    return count
  }

  mutating func array(_ name: String) throws(TokenizerError) -> [JSON] {
    guard let value = value(name) else { throw missing(name) }
    guard let array = value.array else { throw invalid(name, value, "a list") }
    return array
  }

  /// One of `values` by its text.
  mutating func choice<Value>(
    _ name: String, _ values: [(String, Value)], default fallback: Value? = nil
  ) throws(TokenizerError) -> Value {
    guard let value = value(name) else {
      if let fallback { return fallback }
      throw missing(name)
    }
    let names = values.map(\.0)
    guard let text = value.string, let index = names.firstIndex(where: { $0.hasSameBytes(as: text) }) else {
      throw unsupported(name, value, names.joined(separator: ", "))
    }
    return values[index].1
  }

  /// The text that a pattern stands for: a literal one, or a regular expression without operators.
  mutating func literal(_ name: String) throws(TokenizerError) -> (text: [UInt8]?, regex: String?) {
    guard let value = value(name) else { throw missing(name) }
    if let text = value["String"]?.string, !text.isEmpty { return (Array(text.utf8), nil) }
    if let regex = value["Regex"]?.string, !regex.isEmpty {
      let operators = Array(#"\^$.|?*+()[]{}"#.utf8)
      let isPlain = !regex.utf8.contains(where: operators.contains)
      return isPlain ? (Array(regex.utf8), nil) : (nil, regex)
    }
    throw invalid(name, value, "{\"String\": …} or {\"Regex\": …}")
  }

  /// Makes sure that all options were asked for.
  func end() throws(TokenizerError) {
    for (key, value) in object.members where !known.contains(ByteKey(key)) {
      throw unsupported(key, value, "files without it")
    }
  }

  func missing(_ name: String) -> TokenizerError {
    TokenizerError(.missingField, path: path, place: place, name: name)
  }

  func invalid(_ name: String, _ value: JSON, _ expected: String) -> TokenizerError {
    TokenizerError(
      .invalidField, path: path, place: place, name: name, expected: expected, found: value.serialized())
  }

  func unsupported(_ name: String, _ value: JSON, _ expected: String) -> TokenizerError {
    TokenizerError(
      .unsupportedOption, path: path, place: place, name: name, expected: expected, found: value.serialized())
  }

  func unsupportedType() -> TokenizerError {
    TokenizerError(.unsupportedComponent, path: path, place: place, name: type)
  }

  func unsupportedPattern(_ regex: String) -> TokenizerError {
    TokenizerError(.unsupportedPattern, path: path, place: place, name: regex)
  }
}
