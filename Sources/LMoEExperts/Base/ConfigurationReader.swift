import LMoECore

/// Reads typed values from a JSON configuration; every error names the file and the key.
///
/// A value that is absent or null is nil; one of the wrong type is an error, never a default.
struct ConfigurationReader {
  let path: String
  let object: JSONObject
  /// The key this object stands under; nil at the top.
  let parent: String?

  init(_ json: JSON, path: String) throws {
    guard let object = json.object else {
      throw ExpertError(.invalidConfiguration, path: path, found: "not a JSON object")
    }
    self.init(object, path: path, parent: nil)
  }

  private init(_ object: JSONObject, path: String, parent: String?) {
    (self.object, self.path, self.parent) = (object, path, parent)
  }

  /// A reader of an object that stands under `key`.
  func inside(_ object: JSONObject, of key: String) -> ConfigurationReader {
    ConfigurationReader(object, path: path, parent: key)
  }

  /// The value of `key`; nil if it is absent or null.
  func value(_ key: String) -> JSON? {
    guard let value = object[key], !value.isNull else { return nil }
    return value
  }

  func has(_ key: String) -> Bool { value(key) != nil }

  /// Whether `key` is there and null.
  func isNull(_ key: String) -> Bool { object[key]?.isNull == true }

  func number(_ key: String, zeroIsNone: Bool = false) throws -> Double? {
    guard let value = value(key) else { return nil }
    guard let number = value.double else { throw invalid("\(key) is not a number") }
    return zeroIsNone && number == 0 ? nil : number
  }

  /// A positive whole number, however it is written.
  func integer(_ key: String, zeroIsNone: Bool = false) throws -> Int? {
    guard let number = try number(key) else { return nil }
    if zeroIsNone && number == 0 { return nil }
    guard let value = Int(exactly: number), (1...(1 << 24)).contains(value) else {
      throw invalid("\(key) is not a positive whole number")
    }
    return value
  }

  func required(_ key: String) throws -> Int {
    guard let value = try integer(key) else { throw invalid("it has no \(key)") }
    return value
  }

  func flag(_ key: String) throws -> Bool? {
    guard let value = value(key) else { return nil }
    guard let flag = value.bool else { throw invalid("\(key) is neither true nor false") }
    return flag
  }

  func text(_ key: String) throws -> String? {
    guard let value = value(key) else { return nil }
    guard let text = value.string else { throw invalid("\(key) is not a text") }
    return text
  }

  func object(_ key: String) throws -> JSONObject? {
    guard let value = value(key) else { return nil }
    guard let object = value.object else { throw invalid("\(key) is not an object") }
    return object.members.isEmpty ? nil : object
  }

  /// An array of texts.
  func texts(_ key: String) throws -> [String]? {
    guard let value = value(key) else { return nil }
    guard let array = value.array else { throw invalid("\(key) is not an array") }
    return try array.map {
      guard let text = $0.string else { throw invalid("\(key) has an element that is not a text") }
      return text
    }
  }

  /// An array of whole numbers that are not negative.
  func integers(_ key: String) throws -> [Int]? {
    guard let value = value(key) else { return nil }
    // PEFT takes one number for a list of one.
    return try (value.array ?? [value]).map {
      guard let number = $0.int, number >= 0 else {
        throw invalid("\(key) has an element that is not an index")
      }
      return number
    }
  }

  /// Refuses keys other than `keys`, unless they are off.
  func requireOnly(_ keys: Set<String>) throws {
    for (key, value) in object.members where !keys.contains(key) && !value.isOff {
      throw unsupported(key, value)
    }
  }

  func invalid(_ what: String) -> ExpertError {
    ExpertError(.invalidConfiguration, path: path, found: parent.map { "in \($0), \(what)" } ?? what)
  }

  func unsupported(_ key: String, _ value: JSON) -> ExpertError {
    ExpertError(
      .unsupportedModel, path: path, name: parent.map { "\($0).\(key)" } ?? key, found: value.shortText)
  }
}

extension JSON {
  /// Whether it means "not used": null, false, zero, or nothing in it.
  var isOff: Bool {
    switch self {
    case .null, .bool(false): true
    case .bool(true): false
    case .string(let text): text.isEmpty
    case .array(let elements): elements.isEmpty
    case .object(let object): object.members.isEmpty
    case .number(let number): number.double == 0
    }
  }

  /// As JSON, cut off where a sentence would drown in it.
  var shortText: String {
    let text = serialized()
    return text.utf8.count <= 80 ? text : String(text.unicodeScalars.prefix(77).map(Character.init)) + "…"
  }
}
