/// An element type of GGUF files, by ggml's number.
public struct GGMLType: Hashable, Sendable {
  /// The number in the file.
  public let code: UInt32
  /// ggml's name.
  public let name: String
  /// The element type here; `block` for those in blocks.
  public let dtype: DType
  /// How blocks are built, for those in blocks.
  public let geometry: BlockGeometry?

  private init(_ code: UInt32, _ name: String, _ dtype: DType) {
    (self.code, self.name, self.dtype) = (code, name, dtype)
    geometry = nil
  }

  private init(_ code: UInt32, _ name: String, _ elements: UInt32, _ fields: [UInt16]) {
    (self.code, self.name, dtype) = (code, name, .block)
    geometry = BlockGeometry(scheme: code, blockElements: elements, layout: .rows, fields: fields)
  }

  /// Every type that ggml has today.
  public static let all: [GGMLType] = [
    GGMLType(0, "F32", .f32), GGMLType(1, "F16", .f16), GGMLType(30, "BF16", .bf16),
    GGMLType(28, "F64", .f64),
    GGMLType(24, "I8", .i8), GGMLType(25, "I16", .i16), GGMLType(26, "I32", .i32), GGMLType(27, "I64", .i64),
    GGMLType(2, "Q4_0", 32, [2, 16]), GGMLType(3, "Q4_1", 32, [2, 2, 16]),
    GGMLType(6, "Q5_0", 32, [2, 4, 16]), GGMLType(7, "Q5_1", 32, [2, 2, 4, 16]),
    GGMLType(8, "Q8_0", 32, [2, 32]), GGMLType(9, "Q8_1", 32, [2, 2, 32]),
    GGMLType(10, "Q2_K", 256, [16, 64, 2, 2]), GGMLType(11, "Q3_K", 256, [32, 64, 12, 2]),
    GGMLType(12, "Q4_K", 256, [2, 2, 12, 128]), GGMLType(13, "Q5_K", 256, [2, 2, 12, 32, 128]),
    GGMLType(14, "Q6_K", 256, [128, 64, 16, 2]), GGMLType(15, "Q8_K", 256, [4, 256, 32]),
    GGMLType(16, "IQ2_XXS", 256, [66]), GGMLType(17, "IQ2_XS", 256, [74]), GGMLType(18, "IQ3_XXS", 256, [98]),
    GGMLType(19, "IQ1_S", 256, [50]), GGMLType(20, "IQ4_NL", 32, [2, 16]), GGMLType(21, "IQ3_S", 256, [110]),
    GGMLType(22, "IQ2_S", 256, [82]), GGMLType(23, "IQ4_XS", 256, [136]), GGMLType(29, "IQ1_M", 256, [56]),
    GGMLType(34, "TQ1_0", 256, [54]), GGMLType(35, "TQ2_0", 256, [66]), GGMLType(39, "MXFP4", 32, [1, 16]),
  ]

  private static let byCode = Dictionary(
    all.map { ($0.code, $0) }, uniquingKeysWith: { first, _ in first })

  /// The type with a number; nil if ggml has none, or had one that is gone.
  public init?(code: UInt32) {
    guard let type = Self.byCode[code] else { return nil }
    self = type
  }

  /// The type of a tensor's elements, if GGUF has it.
  public init?(_ type: TensorType) {
    let match = Self.all.first {
      type.geometry == nil ? $0.dtype == type.dtype && $0.geometry == nil : $0.geometry == type.geometry
    }
    guard let match else { return nil }
    self = match
  }
}
