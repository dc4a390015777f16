import LMoECore

/// Reads the head of a GGUF file from its beginning to its end, a window at a time.
///
/// Whatever a length in the file says, only bytes that are there are allocated.
struct GGUFCursor {
  private static let window = 1 << 16
  /// The longest text.
  static let longestText = 64 << 20
  /// Elements of all arrays together.
  static let mostElements = 1 << 22

  private let file: any File
  /// Bytes of the whole file.
  let size: UInt64
  /// Where the next byte is.
  private(set) var position: UInt64 = 0
  /// The key that is being read, for errors.
  var key: String?
  private var bytes: [UInt8] = []
  private var start: UInt64 = 0
  private var elements = 0

  init(_ file: any File) throws(FormatError) {
    self.file = file
    size = try io { () throws(FileError) in try file.size() }
  }

  /// The next `count` bytes.
  mutating func take(_ count: Int, _ what: String) throws(FormatError) -> ArraySlice<UInt8> {
    guard UInt64(count) <= size - position else {
      throw invalid("the file ends in \(what)", expected: "\(count) bytes", found: "\(size - position)")
    }
    let offset = position - start
    if offset + UInt64(count) > UInt64(bytes.count) {
      let length = Int(min(UInt64(max(count, Self.window)), size - position))
      let (file, place) = (file, position)
      bytes = try io { () throws(FileError) in try file.bytes(at: place, count: length) }
      start = position
    }
    let first = Int(position - start)
    position += UInt64(count)
    return bytes[first..<first + count]
  }

  mutating func u32(_ what: String) throws(FormatError) -> UInt32 { Fields(try take(4, what)).u32(0) }
  mutating func u64(_ what: String) throws(FormatError) -> UInt64 { Fields(try take(8, what)).u64(0) }

  /// A text: its length and its UTF-8.
  mutating func text(_ what: String, atMost limit: Int = longestText) throws(FormatError) -> String {
    let length = try u64("the length of \(what)")
    guard length <= UInt64(limit) else {
      throw invalid("\(what) is too long", expected: "at most \(limit) bytes", found: "\(length)")
    }
    guard let text = String(validating: try take(Int(length), what), as: UTF8.self) else {
      throw invalid("\(what) is not UTF-8")
    }
    return text
  }

  /// A value of the type that stands before it.
  mutating func value() throws(FormatError) -> GGUFValue {
    let kind = try kind()
    guard kind == .array else { return try value(of: kind) }
    let inner = try self.kind()
    if inner == .array { throw invalid("an array of arrays") }
    let count = try u64("the length of an array")
    guard count <= (size - position) / UInt64(inner.leastBytes), count <= UInt64(Self.mostElements - elements)
    else {
      throw invalid(
        "the array is too long", expected: "what fits the file, at most \(Self.mostElements) in all",
        found: "\(count) elements")
    }
    elements += Int(count)
    var values: [GGUFValue] = []
    values.reserveCapacity(Int(count))
    for _ in 0..<count { values.append(try value(of: inner)) }
    return .array(inner, values)
  }

  private mutating func kind() throws(FormatError) -> GGUFValue.Kind {
    let code = try u32("a type")
    guard let kind = GGUFValue.Kind(rawValue: code) else {
      throw invalid("unknown type of a value", found: "\(code)")
    }
    return kind
  }

  private mutating func value(of kind: GGUFValue.Kind) throws(FormatError) -> GGUFValue {
    if kind == .string { return .string(try text("a text")) }
    let fields = Fields(try take(kind.leastBytes, "a value"))
    switch kind {
    case .u8: return .u8(fields.u8(0))
    case .i8: return .i8(Int8(bitPattern: fields.u8(0)))
    case .bool:
      guard fields.u8(0) <= 1 else {
        throw invalid("a truth value is neither 0 nor 1", found: "\(fields.u8(0))")
      }
      return .bool(fields.u8(0) == 1)
    case .u16: return .u16(fields.u16(0))
    case .i16: return .i16(Int16(bitPattern: fields.u16(0)))
    case .u32: return .u32(fields.u32(0))
    case .i32: return .i32(Int32(bitPattern: fields.u32(0)))
    case .f32: return .f32(Float(bitPattern: fields.u32(0)))
    case .u64: return .u64(fields.u64(0))
    case .i64: return .i64(Int64(bitPattern: fields.u64(0)))
    case .f64: return .f64(Double(bitPattern: fields.u64(0)))
    case .string, .array: throw invalid("unknown type of a value")
    }
  }

  /// What is wrong here.
  func invalid(_ rule: String, expected: String? = nil, found: String? = nil) -> FormatError {
    FormatError(
      .ggufInvalid, entry: key, offset: position, field: rule, expected: expected, found: found)
  }
}
