/// The type of a tensor's elements.
///
/// Raw values are the registry's codes.
public enum DType: UInt8, CaseIterable, Hashable, Sendable {
  case f64 = 0x10
  case f32 = 0x11
  case f16 = 0x12
  case bf16 = 0x13
  case f8E4M3 = 0x14
  case f8E5M2 = 0x15
  case i64 = 0x20
  case i32 = 0x21
  case i16 = 0x22
  case i8 = 0x23
  case u64 = 0x30
  case u32 = 0x31
  case u16 = 0x32
  case u8 = 0x34
  case bool = 0x38
  /// Block-quantized; a `BlockGeometry` says how.
  case block = 0x40

  /// The registry's name, which is safetensors' name too.
  public var name: String {
    switch self {
    case .f64: "F64"
    case .f32: "F32"
    case .f16: "F16"
    case .bf16: "BF16"
    case .f8E4M3: "F8_E4M3"
    case .f8E5M2: "F8_E5M2"
    case .i64: "I64"
    case .i32: "I32"
    case .i16: "I16"
    case .i8: "I8"
    case .u64: "U64"
    case .u32: "U32"
    case .u16: "U16"
    case .u8: "U8"
    case .bool: "BOOL"
    case .block: "BLOCK"
    }
  }

  /// The dtype with that name, if there is one.
  public init?(name: String) {
    guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = match
  }

  /// Bytes of an element; nil for blocks.
  public var elementBytes: Int? {
    switch self {
    case .f64, .i64, .u64: 8
    case .f32, .i32, .u32: 4
    case .f16, .bf16, .i16, .u16: 2
    case .f8E4M3, .f8E5M2, .i8, .u8, .bool: 1
    case .block: nil
    }
  }

  /// Whether rotating the sign out of the top byte pays: floats of two bytes and more.
  var rotatesSign: Bool {
    switch self {
    case .f64, .f32, .f16, .bf16: true
    default: false
    }
  }
}
