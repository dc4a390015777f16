/// How a block-quantized tensor is cut into blocks and fields: enough to copy, check and compress blocks of
/// a scheme that the reader has never heard of.
public struct BlockGeometry: Hashable, Sendable {
  /// How blocks run over the elements.
  public enum Layout: UInt8, Hashable, Sendable {
    /// Along the last dimension, which is a multiple of the block's elements.
    case rows = 0
    /// Over all elements in row-major order; the last block may be partly used.
    case flat = 1
  }

  /// The scheme's number in the registry (below 256: ggml's type number).
  public let scheme: UInt32
  /// Elements in a block.
  public let blockElements: UInt32
  /// Bytes of a block: the sum of the fields.
  public let blockBytes: UInt32
  /// How blocks run.
  public let layout: Layout
  /// Widths of a block's fields in bytes, 1 to 8 of them.
  public let fields: [UInt16]

  static let encodedBytes = 40

  /// Makes a geometry; nil if it breaks the registry's rules.
  public init?(scheme: UInt32, blockElements: UInt32, layout: Layout, fields: [UInt16]) {
    let sum = fields.reduce(UInt32(0)) { $0 + UInt32($1) }
    guard (1...65_536).contains(blockElements), (1...8).contains(fields.count),
      !fields.contains(0), sum <= 65_536
    else { return nil }
    self.init(unchecked: scheme, blockElements: blockElements, layout: layout, fields: fields)
  }

  /// Makes a geometry that is known to keep to the rules.
  init(unchecked scheme: UInt32, blockElements: UInt32, layout: Layout, fields: [UInt16]) {
    self.scheme = scheme
    self.blockElements = blockElements
    self.blockBytes = fields.reduce(0) { $0 + UInt32($1) }
    self.layout = layout
    self.fields = fields
  }

  init?(parsing record: Fields) {
    let count = Int(record.u8(13))
    guard let layout = Layout(rawValue: record.u8(12)), (1...8).contains(count),
      record.isZero(14..<16), record.isZero(32..<40), record.isZero(16 + 2 * count..<32)
    else { return nil }
    self.init(
      scheme: record.u32(0), blockElements: record.u32(4), layout: layout,
      fields: (0..<count).map { record.u16(16 + 2 * $0) })
    guard blockBytes == record.u32(8) else { return nil }
  }

  func append(to bytes: inout [UInt8]) {
    bytes.append(little: scheme)
    bytes.append(little: blockElements)
    bytes.append(little: blockBytes)
    bytes.append(layout.rawValue)
    bytes.append(UInt8(fields.count))
    bytes.append(zeros: 2)
    for index in 0..<8 { bytes.append(little: index < fields.count ? fields[index] : 0) }
    bytes.append(zeros: 8)
  }

  /// The registry's name of the scheme.
  public var name: String { BlockScheme(rawValue: scheme)?.name ?? "scheme \(scheme)" }
}
