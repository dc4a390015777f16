import LMoECore

/// Reads a pickle that holds tensors by name, and nothing else.
///
/// A pickle is a program. This one runs only the steps that build dictionaries, lists, texts, numbers and tensors;
/// any other step, and any name that is not one of `PickleValue.Global`, ends the reading. Nothing is called.
struct PickleReader {
  private let bytes: [UInt8]
  private var position = 0
  private var stack: [PickleValue] = []
  private var memo: [Int: PickleValue] = [:]
  /// Values that were made: a short pickle must not make a long one.
  private var steps = 0

  private static let mostSteps = 1 << 24

  /// Reads the pickle `bytes` to its end.
  ///
  /// - Throws: `torch-invalid` that names the step or name that is not known.
  static func value(_ bytes: [UInt8]) throws(FormatError) -> PickleValue {
    var reader = PickleReader(bytes)
    return try reader.run()
  }

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  private func invalid(_ rule: String, found: String? = nil) -> FormatError {
    FormatError(.torchInvalid, offset: UInt64(position), field: rule, found: found)
  }

  private mutating func take(_ count: Int) throws(FormatError) -> ArraySlice<UInt8> {
    guard count >= 0, count <= bytes.count - position else { throw invalid("the pickle is cut off") }
    position += count
    return bytes[position - count..<position]
  }

  private mutating func number(_ count: Int) throws(FormatError) -> Int {
    try take(count).reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  private mutating func text(_ count: Int) throws(FormatError) -> String {
    guard let text = String(validating: try take(count), as: UTF8.self) else {
      throw invalid("a text is not UTF-8")
    }
    return text
  }

  private mutating func line() throws(FormatError) -> String {
    guard let end = bytes[position...].firstIndex(of: 0x0A) else { throw invalid("the pickle is cut off") }
    defer { position += 1 }
    return try text(end - position)
  }

  private mutating func pop() throws(FormatError) -> PickleValue {
    guard let value = stack.popLast() else { throw invalid("nothing is left on the stack") }
    return value
  }

  private mutating func push(_ value: PickleValue) { stack.append(value) }

  /// What stands after the last mark.
  private mutating func marked() throws(FormatError) -> [PickleValue] {
    guard let place = stack.lastIndex(where: { if case .mark = $0 { true } else { false } }) else {
      throw invalid("no mark is left on the stack")
    }
    let items = Array(stack[(place + 1)...])
    stack.removeLast(stack.count - place)
    return items
  }

  private mutating func run() throws(FormatError) -> PickleValue {
    while true {
      steps += 1
      guard steps <= Self.mostSteps else { throw invalid("more than \(Self.mostSteps) steps") }
      let code = try take(1).first ?? 0
      switch code {
      case UInt8(ascii: "."): return try pop()
      case 0x80: _ = try take(1)
      case 0x95: _ = try take(8)
      case UInt8(ascii: "("): push(.mark)
      case UInt8(ascii: "0"): _ = try pop()
      case UInt8(ascii: "N"): push(.none)
      case 0x88: push(.bool(true))
      case 0x89: push(.bool(false))
      case UInt8(ascii: "J"): push(.integer(Int(Int32(truncatingIfNeeded: try number(4)))))
      case UInt8(ascii: "K"): push(.integer(try number(1)))
      case UInt8(ascii: "M"): push(.integer(try number(2)))
      case 0x8A: push(.integer(try long()))
      case UInt8(ascii: "G"): push(.number(try double()))
      case UInt8(ascii: "X"): push(.text(try text(try number(4))))
      case 0x8C: push(.text(try text(try number(1))))
      case UInt8(ascii: ")"): push(.tuple([]))
      case UInt8(ascii: "]"): push(.list([]))
      case UInt8(ascii: "}"): push(.dictionary([]))
      case UInt8(ascii: "t"): push(.tuple(try marked()))
      case 0x85, 0x86, 0x87: try tuple(Int(code) - 0x84)
      case UInt8(ascii: "q"): try remember(try number(1))
      case UInt8(ascii: "r"): try remember(try number(4))
      case 0x94: try remember(memo.count)
      case UInt8(ascii: "h"): push(try recalled(try number(1)))
      case UInt8(ascii: "j"): push(try recalled(try number(4)))
      case UInt8(ascii: "c"): push(.global(try global(try line(), try line())))
      case 0x93: try stackGlobal()
      case UInt8(ascii: "Q"): push(.storage(try storage(try pop())))
      case UInt8(ascii: "R"): try reduce()
      case UInt8(ascii: "b"):
        // What an OrderedDict of a model's state carries besides: its versions.
        _ = try pop()
      case UInt8(ascii: "a"): try append([try pop()])
      case UInt8(ascii: "e"): try append(try marked())
      case UInt8(ascii: "s"):
        let value = try pop()
        try set([try pop(), value])
      case UInt8(ascii: "u"): try set(try marked())
      default:
        throw invalid("a step that tensors do not need", found: "0x" + String(code, radix: 16))
      }
    }
  }

  private mutating func long() throws(FormatError) -> Int {
    let count = try number(1)
    guard count <= 8 else { throw invalid("a number is too large") }
    let bytes = Array(try take(count))
    let value = bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
    let isNegative = count > 0 && count < 8 && bytes[count - 1] & 0x80 != 0
    return isNegative ? value - (1 << (8 * count)) : value
  }

  private mutating func double() throws(FormatError) -> Double {
    Double(bitPattern: try take(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  private mutating func tuple(_ count: Int) throws(FormatError) {
    guard stack.count >= count else { throw invalid("nothing is left on the stack") }
    let items = Array(stack.suffix(count))
    stack.removeLast(count)
    push(.tuple(items))
  }

  private mutating func remember(_ place: Int) throws(FormatError) {
    guard let value = stack.last else { throw invalid("nothing is left on the stack") }
    memo[place] = value
  }

  private func recalled(_ place: Int) throws(FormatError) -> PickleValue {
    guard let value = memo[place] else { throw invalid("a value that was never made", found: "\(place)") }
    // One that is still being filled would be two here.
    switch value {
    case .dictionary, .list: throw invalid("a dictionary or list that stands in two places")
    default: break
    }
    return value
  }

  private func global(_ module: String, _ name: String) throws(FormatError) -> PickleValue.Global {
    guard let global = PickleValue.Global(module, name) else {
      throw invalid("it would call what tensors do not need", found: module + "." + name)
    }
    return global
  }

  private mutating func stackGlobal() throws(FormatError) {
    let name = try pop()
    guard let name = name.text, let module = try pop().text else { throw invalid("a name that is no text") }
    push(.global(try global(module, name)))
  }

  /// `("storage", type, key, place, count)`.
  private func storage(_ identity: PickleValue) throws(FormatError) -> PickleValue.Storage {
    guard let items = identity.items, items.count == 5, items[0].text == "storage",
      case .global(.storageType(let dtype)) = items[1], let key = items[2].text, let count = items[4].integer,
      count >= 0
    else { throw invalid("a reference that is no storage of a tensor") }
    return PickleValue.Storage(dtype: dtype, key: key, count: count)
  }

  private mutating func reduce() throws(FormatError) {
    let arguments = try pop().items ?? []
    guard case .global(let function) = try pop() else { throw invalid("a call of what is no name") }
    switch function {
    case .orderedDictionary where arguments.isEmpty: push(.dictionary([]))
    case .rebuildParameter where !arguments.isEmpty: push(arguments[0])
    case .rebuildTensor where arguments.count >= 4:
      guard case .storage(let storage) = arguments[0], let offset = arguments[1].integer,
        let shape = arguments[2].items?.map(\.integer), let strides = arguments[3].items?.map(\.integer),
        offset >= 0, shape.count == strides.count
      else { throw invalid("a tensor that is none") }
      let (sizes, steps) = (shape.compactMap(\.self), strides.compactMap(\.self))
      guard sizes.count == shape.count, steps.count == strides.count else {
        throw invalid("a tensor that is none")
      }
      push(.tensor(PickleValue.Tensor(storage: storage, offset: offset, shape: sizes, strides: steps)))
    default: throw invalid("a call with other arguments than tensors have")
    }
  }

  private mutating func append(_ items: [PickleValue]) throws(FormatError) {
    guard case .list(let list) = try pop() else { throw invalid("something is appended to what is no list") }
    push(.list(list + items))
  }

  private mutating func set(_ items: [PickleValue]) throws(FormatError) {
    guard case .dictionary(var members) = try pop(), items.count.isMultiple(of: 2) else {
      throw invalid("something is set in what is no dictionary")
    }
    for index in stride(from: 0, to: items.count, by: 2) { members.append((items[index], items[index + 1])) }
    push(.dictionary(members))
  }
}
