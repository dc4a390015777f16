/// A value of a GGUF file's metadata.
public enum GGUFValue: Hashable, Sendable {
  case u8(UInt8)
  case i8(Int8)
  case u16(UInt16)
  case i16(Int16)
  case u32(UInt32)
  case i32(Int32)
  case f32(Float)
  case bool(Bool)
  case string(String)
  /// Elements of one type, which are no arrays themselves.
  case array(Kind, [GGUFValue])
  case u64(UInt64)
  case i64(Int64)
  case f64(Double)

  /// The type of a value, by its number in the file.
  public enum Kind: UInt32, Hashable, Sendable {
    case u8 = 0
    case i8
    case u16
    case i16
    case u32
    case i32
    case f32
    case bool
    case string
    case array
    case u64
    case i64
    case f64

    /// Bytes of a value; of a text or an array at least so many.
    var leastBytes: Int {
      switch self {
      case .u8, .i8, .bool: 1
      case .u16, .i16: 2
      case .u32, .i32, .f32: 4
      case .string, .u64, .i64, .f64: 8
      case .array: 12
      }
    }
  }

  /// The type.
  public var kind: Kind {
    switch self {
    case .u8: .u8
    case .i8: .i8
    case .u16: .u16
    case .i16: .i16
    case .u32: .u32
    case .i32: .i32
    case .f32: .f32
    case .bool: .bool
    case .string: .string
    case .array: .array
    case .u64: .u64
    case .i64: .i64
    case .f64: .f64
    }
  }

  /// A list of texts.
  public static func strings(_ texts: [String]) -> GGUFValue { .array(.string, texts.map(GGUFValue.string)) }
}

extension GGUFValue {
  /// The value of any type of integer that fits.
  public var integer: Int? {
    switch self {
    case .u8(let value): Int(value)
    case .i8(let value): Int(value)
    case .u16(let value): Int(value)
    case .i16(let value): Int(value)
    case .u32(let value): Int(value)
    case .i32(let value): Int(value)
    case .u64(let value): Int(exactly: value)
    case .i64(let value): Int(exactly: value)
    default: nil
    }
  }

  /// The value of any type of number.
  public var number: Double? {
    switch self {
    case .f32(let value): Double(value)
    case .f64(let value): value
    default: integer.map { Double($0) }
    }
  }

  /// The text.
  public var string: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  /// The truth value.
  public var bool: Bool? {
    guard case .bool(let value) = self else { return nil }
    return value
  }

  /// The elements of an array.
  public var elements: [GGUFValue]? {
    guard case .array(_, let elements) = self else { return nil }
    return elements
  }

  /// The texts of an array of texts.
  public var strings: [String]? {
    guard case .array(.string, let elements) = self else { return nil }
    return elements.compactMap(\.string)
  }

  /// The value for a sentence; not all of a long one.
  public var shortText: String {
    switch self {
    case .string(let text):
      "\"\(text.utf8.count <= 100 ? text : String(String.UnicodeScalarView(text.unicodeScalars.prefix(97))) + "…")\""
    case .bool(let value): "\(value)"
    case .f32(let value): "\(value)"
    case .f64(let value): "\(value)"
    case .array(let kind, let elements): "\(elements.count) values of the type \(kind)"
    default: integer.map { "\($0)" } ?? "?"
    }
  }
}
