/// A JSON value.
///
/// Objects keep their order, numbers their text.
public enum JSON: Sendable {
  case null
  case bool(Bool)
  case number(JSONNumber)
  case string(String)
  case array([JSON])
  case object(JSONObject)
}

/// A JSON number as it was written: nothing is lost before somebody asks for a type.
public struct JSONNumber: Hashable, Sendable {
  /// As written.
  public let text: String

  /// Wraps the text of a number, which must be one.
  public init(text: String) { self.text = text }

  /// The value, if it is written as an integer and fits.
  public func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self) -> Value? { Value(text) }

  /// The nearest double, or nil where it would be infinite.
  public var double: Double? {
    guard let value = Double(text), value.isFinite else { return nil }
    return value
  }
}

/// The members of a JSON object, in order, found by the bytes of their keys.
public struct JSONObject: Sendable {
  /// The members in order.
  public private(set) var members: [(key: String, value: JSON)] = []
  /// Where each key is; kept only for objects with more than a few.
  private var index: [ByteKey: Int] = [:]

  private static let indexed = 12

  /// Makes an object without members.
  public init() {}

  /// The value of `key`; setting nil removes it.
  public subscript(key: String) -> JSON? {
    get { place(of: key).map { members[$0].value } }
    set {
      if let place = place(of: key) {
        if let newValue {
          members[place].value = newValue
        } else {
          members.remove(at: place)
          rebuildIndex()
        }
      } else if let newValue {
        append(key, newValue)
      }
    }
  }

  /// Appends a member whose key is known to be new.
  mutating func append(_ key: String, _ value: JSON) {
    members.append((key, value))
    if members.count == Self.indexed + 1 {
      rebuildIndex()
    } else if members.count > Self.indexed {
      index[ByteKey(key)] = members.count - 1
    }
  }

  private func place(of key: String) -> Int? {
    members.count > Self.indexed
      ? index[ByteKey(key)] : members.firstIndex { $0.key.hasSameBytes(as: key) }
  }

  private mutating func rebuildIndex() {
    index.removeAll()
    guard members.count > Self.indexed else { return }
    for (place, member) in members.enumerated() { index[ByteKey(member.key)] = place }
  }
}

extension JSON: Equatable {
  /// Whether both are the same value: strings by bytes, numbers by text, objects without regard to order.
  public static func == (left: JSON, right: JSON) -> Bool {
    switch (left, right) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.number(let a), .number(let b)): a == b
    case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
    case (.array(let a), .array(let b)): a == b
    case (.object(let a), .object(let b)):
      a.members.count == b.members.count && a.members.allSatisfy { b[$0.key] == $0.value }
    default: false
    }
  }
}

extension JSON: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByNilLiteral
{
  /// An object of the members in order; a later duplicate wins.
  public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements) }
  /// An array.
  public init(arrayLiteral elements: JSON...) { self = .array(elements) }
  /// A string.
  public init(stringLiteral value: String) { self = .string(value) }
  /// A Boolean.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// An integer.
  public init(integerLiteral value: Int) { self = .integer(value) }
  /// Null.
  public init(nilLiteral: ()) { self = .null }

  /// An object of `members` in order; a later duplicate wins.
  public static func object(_ members: [(String, JSON)]) -> JSON {
    var object = JSONObject()
    for (key, value) in members { object[key] = value }
    return .object(object)
  }

  /// An integer.
  public static func integer(_ value: some FixedWidthInteger) -> JSON {
    .number(JSONNumber(text: "\(value)"))
  }

  /// A number; null if it is not finite.
  ///
  /// A whole number is written without a fraction.
  public static func double(_ value: Double) -> JSON {
    guard value.isFinite else { return .null }
    if let whole = Int(exactly: value), abs(value) < 1e15 { return .integer(whole) }
    return .number(JSONNumber(text: "\(value)"))
  }

  /// The value of `key`, if this is an object that has it.
  public subscript(key: String) -> JSON? {
    guard case .object(let object) = self else { return nil }
    return object[key]
  }

  /// The text, if this is a string.
  public var string: String? {
    if case .string(let text) = self { text } else { nil }
  }
  /// The elements, if this is an array.
  public var array: [JSON]? {
    if case .array(let elements) = self { elements } else { nil }
  }
  /// The object, if this is one.
  public var object: JSONObject? {
    if case .object(let object) = self { object } else { nil }
  }
  /// The truth value, if this is one.
  public var bool: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }
  /// The number, if this is one.
  public var number: JSONNumber? {
    if case .number(let number) = self { number } else { nil }
  }
  /// The integer, if this is a number written as one that fits.
  public var int: Int? { number?.integer(Int.self) }
  /// The nearest double, if this is a number.
  public var double: Double? { number?.double }
  /// Whether this is null.
  public var isNull: Bool { self == .null }
}
