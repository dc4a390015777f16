import LMoECore

/// A value in a template, as Python has them.
///
/// Everything but a namespace is immutable, which is what the sandbox of transformers makes of them too.
enum TemplateValue {
  /// What a name or attribute that is not there gives.
  case undefined(String)
  case none
  case bool(Bool)
  case integer(Int)
  case double(Double)
  case string(String)
  case list(TemplateElements)
  case tuple(TemplateElements)
  case dictionary(TemplateDictionary)
  /// What filters and methods give that Python makes one by one.
  case sequence(SequenceKind, TemplateElements)
  case namespace(TemplateNamespace)
  case loop(TemplateLoopState)
  case macro(TemplateMacroValue)
  case function(String)
  case method(TemplateMethod)

  enum SequenceKind: Hashable { case generator, items, keys, values, range }

  /// Python's name of the type, for messages.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "None"
    case .bool: "bool"
    case .integer: "int"
    case .double: "float"
    case .string: "str"
    case .list: "list"
    case .tuple: "tuple"
    case .dictionary: "dict"
    case .sequence(.generator, _): "generator"
    case .sequence(.range, _): "range"
    case .sequence(let kind, _): "dict_\(kind)"
    case .namespace: "Namespace"
    case .loop: "LoopContext"
    case .macro: "Macro"
    case .function: "function"
    case .method: "method"
    }
  }

  /// How many containers stand in each other.
  var depth: Int {
    switch self {
    case .list(let elements), .tuple(let elements), .sequence(_, let elements): elements.depth
    case .dictionary(let dictionary): dictionary.depth
    case .method(let method): method.receiver.depth
    default: 0
    }
  }

  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .integer(let value): value != 0
    case .double(let value): value != 0
    case .string(let text): !text.isEmpty
    case .list(let elements), .tuple(let elements): !elements.values.isEmpty
    case .sequence(.generator, _): true
    case .sequence(_, let elements): !elements.values.isEmpty
    case .dictionary(let dictionary): dictionary.count > 0
    case .namespace, .loop, .macro, .function, .method: true
    }
  }

  var isUndefined: Bool {
    if case .undefined = self { true } else { false }
  }

  /// The number, also of a truth value.
  var wholeNumber: Int? {
    switch self {
    case .integer(let value): value
    case .bool(let value): value ? 1 : 0
    default: nil
    }
  }

  var number: Double? {
    if case .double(let value) = self { value } else { wholeNumber.map(Double.init) }
  }
}

/// Elements of a container, and how deep they are.
struct TemplateElements {
  let values: [TemplateValue]
  let depth: Int

  init(_ values: [TemplateValue]) {
    self.values = values
    depth = 1 + (values.lazy.map(\.depth).max() ?? 0)
  }
}

/// A dictionary in the order in which it was made.
struct TemplateDictionary {
  private(set) var members: [(key: TemplateValue, value: TemplateValue)] = []
  private(set) var depth = 1
  private var index: [TemplateKey: Int] = [:]

  var count: Int { members.count }

  init() {}

  /// Adds a member or replaces its value; false if the key is of a kind that cannot be one.
  mutating func set(_ key: TemplateValue, _ value: TemplateValue) -> Bool {
    guard let hashed = TemplateKey(key) else { return false }
    depth = max(depth, 1 + value.depth, 1 + key.depth)
    if let place = index[hashed] {
      members[place].value = value
    } else {
      index[hashed] = members.count
      members.append((key, value))
    }
    return true
  }

  mutating func set(_ key: String, _ value: TemplateValue) { _ = set(.string(key), value) }

  /// The value of a key; nil also for what cannot be one.
  func value(of key: TemplateValue) -> TemplateValue? {
    TemplateKey(key).flatMap { index[$0] }.map { members[$0].value }
  }

  func value(of key: String) -> TemplateValue? { index[.string(ByteKey(key))].map { members[$0].value } }
}

/// A value by which a dictionary finds others.
indirect enum TemplateKey: Hashable {
  case none
  case integer(Int)
  case double(Double)
  case string(ByteKey)
  case tuple([TemplateKey])

  init?(_ value: TemplateValue) {
    switch value {
    case .none: self = .none
    case .string(let text): self = .string(ByteKey(text))
    case .double(let number):
      self = Int(exactly: number).map(TemplateKey.integer) ?? .double(number)
    case .tuple(let elements):
      let keys = elements.values.compactMap { TemplateKey($0) }
      guard keys.count == elements.values.count else { return nil }
      self = .tuple(keys)
    default:
      guard let number = value.wholeNumber else { return nil }
      self = .integer(number)
    }
  }
}
