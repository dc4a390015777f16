/// The schemes of quantized blocks that are decoded here.
///
/// Raw values are the registry's numbers.
public enum BlockScheme: UInt32, CaseIterable, Hashable, Sendable {
  case q4_0 = 2
  case q8_0 = 8
  case q4K = 12
  case q6K = 14
  /// Sixteen quantiles of a normal distribution, with doubly quantized scales.
  case nf4 = 256
  /// Eight bits, a scale for each row.
  case i8Row = 257
  /// Four bits, a scale and a zero for each group.
  case i4Group = 258

  /// The registry's name.
  public var name: String {
    switch self {
    case .q4_0: "Q4_0"
    case .q8_0: "Q8_0"
    case .q4K: "Q4_K"
    case .q6K: "Q6_K"
    case .nf4: "NF4"
    case .i8Row: "I8_ROW"
    case .i4Group: "I4_GROUP"
    }
  }
}

extension BlockGeometry {
  /// 32 elements with a scale, four bits each.
  public static let q4_0 = BlockGeometry(.q4_0, 32, [2, 16])
  /// 32 elements with a scale, eight bits each.
  public static let q8_0 = BlockGeometry(.q8_0, 32, [2, 32])
  /// 256 elements in eight sub-blocks with a scale and a minimum each, four bits each.
  public static let q4K = BlockGeometry(.q4K, 256, [2, 2, 12, 128])
  /// 256 elements in sixteen sub-blocks with a scale each, six bits each.
  public static let q6K = BlockGeometry(.q6K, 256, [128, 64, 16, 2])
  /// bitsandbytes' NF4 with double quantization: 256 runs of 64 elements, four bits each.
  public static let nf4 = BlockGeometry(.nf4, 16_384, layout: .flat, [4, 4, 256, 8192])

  /// Rows of that length, a scale each; nil for lengths other than 1 to 65,532.
  public static func i8Row(_ length: Int) -> BlockGeometry? {
    guard (1...65_532).contains(length) else { return nil }
    return BlockGeometry(.i8Row, UInt32(length), [4, UInt16(length)])
  }

  /// Groups of 32, 64 or 128 elements with a scale and a zero; nil for others.
  public static func i4Group(_ size: Int) -> BlockGeometry? {
    guard [32, 64, 128].contains(size) else { return nil }
    return BlockGeometry(.i4Group, UInt32(size), [2, 1, UInt16(size / 2)])
  }

  private init(_ scheme: BlockScheme, _ elements: UInt32, layout: Layout = .rows, _ fields: [UInt16]) {
    self.init(unchecked: scheme.rawValue, blockElements: elements, layout: layout, fields: fields)
  }

  /// What the blocks are, if they are as the registry has them: whoever decodes them asks this first.
  public var decodable: BlockScheme? {
    guard let known = BlockScheme(rawValue: scheme) else { return nil }
    let expected: BlockGeometry? =
      switch known {
      case .q4_0: .q4_0
      case .q8_0: .q8_0
      case .q4K: .q4K
      case .q6K: .q6K
      case .nf4: .nf4
      case .i8Row: .i8Row(Int(blockElements))
      case .i4Group: .i4Group(Int(blockElements))
      }
    return self == expected ? known : nil
  }

  /// Bits that an element takes.
  public var bitsPerElement: Double { 8 * Double(blockBytes) / Double(blockElements) }
}
