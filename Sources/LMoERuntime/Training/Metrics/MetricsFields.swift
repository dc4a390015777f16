import LMoECore

/// Why a line is not one of the schema.
struct MetricsProblem: Error {
  /// The sentence, without the file and the line.
  let sentence: String
}

/// The members of an object of the metrics file.
///
/// What is absent or null has a default where there is one, so that lines of other writers can be read; what
/// has the wrong type is an error.
struct MetricsFields {
  private let object: JSONObject

  init(_ json: JSON) throws(MetricsProblem) {
    guard let object = json.object else { throw MetricsProblem(sentence: "it is not an object") }
    self.object = object
  }

  private func value(_ key: String) -> JSON? {
    // A literal nil would be JSON's own null.
    guard let value = object[key], !value.isNull else { return Optional.none }
    return value
  }

  private func wrong(_ key: String, _ what: String) -> MetricsProblem {
    MetricsProblem(sentence: "\"\(key)\" is \(value(key) == nil ? "missing" : "not \(what)")")
  }

  /// A text that must be there.
  func text(_ key: String) throws(MetricsProblem) -> String {
    guard let text = value(key)?.string else { throw wrong(key, "a text") }
    return text
  }

  /// A text, or nil.
  func optionalText(_ key: String) throws(MetricsProblem) -> String? {
    value(key) == nil ? nil : try text(key)
  }

  /// A count that must be there.
  func count(_ key: String) throws(MetricsProblem) -> Int {
    guard let count = try optionalCount(key) else { throw wrong(key, "a count") }
    return count
  }

  /// A count, or nil.
  func optionalCount(_ key: String) throws(MetricsProblem) -> Int? {
    guard let value = value(key) else { return nil }
    // Other writers may know only one kind of number: 400.0.
    guard let count = value.int ?? value.double.flatMap({ Int(exactly: $0) }), count >= 0 else {
      throw wrong(key, "a count")
    }
    return count
  }

  /// A number; NaN where there is none.
  func number(_ key: String) throws(MetricsProblem) -> Double {
    guard let value = value(key) else { return .nan }
    guard let number = value.number else { throw wrong(key, "a number") }
    return number.double ?? .nan
  }

  /// A truth value; false where there is none.
  func flag(_ key: String) throws(MetricsProblem) -> Bool {
    guard let value = value(key) else { return false }
    guard let flag = value.bool else { throw wrong(key, "true or false") }
    return flag
  }

  /// An object, or nil.
  func optionalObject(_ key: String) throws(MetricsProblem) -> MetricsFields? {
    guard let value = value(key) else { return nil }
    guard value.object != nil else { throw wrong(key, "an object") }
    return try MetricsFields(value)
  }

  /// An object as it is; empty where there is none.
  func members(_ key: String) throws(MetricsProblem) -> JSONObject {
    guard let value = value(key) else { return JSONObject() }
    guard let object = value.object else { throw wrong(key, "an object") }
    return object
  }

  /// A list; empty where there is none.
  func list(_ key: String) throws(MetricsProblem) -> [JSON] {
    guard let value = value(key) else { return [] }
    guard let list = value.array else { throw wrong(key, "a list") }
    return list
  }

  /// A list of objects; empty where there is none.
  func objects(_ key: String) throws(MetricsProblem) -> [MetricsFields] {
    var result: [MetricsFields] = []
    for element in try list(key) { result.append(try MetricsFields(element)) }
    return result
  }

  /// A list of texts; empty where there is none.
  func texts(_ key: String) throws(MetricsProblem) -> [String] {
    var result: [String] = []
    for element in try list(key) {
      guard let text = element.string else { throw wrong(key, "a list of texts") }
      result.append(text)
    }
    return result
  }

  /// A list of numbers, NaN where one is null; empty where there is none.
  func numbers(_ key: String) throws(MetricsProblem) -> [Float] {
    guard let numbers = Self.numbers(try list(key)) else { throw wrong(key, "a list of numbers") }
    return numbers
  }

  /// A list of lists of numbers; empty where there is none.
  func rows(_ key: String) throws(MetricsProblem) -> [[Float]] {
    var result: [[Float]] = []
    for element in try list(key) {
      guard let row = element.isNull ? [] : element.array.flatMap(Self.numbers) else {
        throw wrong(key, "a list of lists of numbers")
      }
      result.append(row)
    }
    return result
  }

  /// The numbers of an object, in order; none where it is absent.
  func values(_ key: String) throws(MetricsProblem) -> [MetricValue] {
    guard let fields = try optionalObject(key) else { return [] }
    var result: [MetricValue] = []
    for (name, _) in fields.object.members {
      result.append(MetricValue(name, try fields.number(name)))
    }
    return result
  }

  private static func numbers(_ list: [JSON]) -> [Float]? {
    var result: [Float] = []
    result.reserveCapacity(list.count)
    for element in list {
      guard element.isNull || element.number != nil else { return nil }
      result.append(element.double.map { Float($0) } ?? .nan)
    }
    return result
  }
}
