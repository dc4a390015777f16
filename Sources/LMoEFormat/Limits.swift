/// The sizes beyond which a reader refuses, before it allocates or computes anything.
public enum Limits {
  /// Length of the fixed area: header, slots, zeros.
  public static let fixedArea: UInt64 = 65_536
  /// A slot's length.
  public static let slotBytes = 4096
  /// Offsets of the two slots.
  public static let slots: [UInt64] = [0x4000, 0x8000]
  /// Alignment of roots and of the end of a segment.
  public static let segmentAlignment: UInt64 = 4096
  /// The longest root.
  public static let rootBytes: UInt64 = 64 << 20
  /// The longest manifest.
  public static let manifestBytes: UInt64 = 256 << 20
  /// The longest card.
  public static let cardBytes: UInt64 = 16 << 20
  /// The longest document.
  public static let documentBytes: UInt64 = 256 << 20
  /// Banks in a root.
  public static let banks: UInt32 = 65_536
  /// Tensors and documents in a manifest.
  public static let entries: UInt32 = 1 << 20
  /// Chunks in an entry.
  public static let chunksPerEntry: UInt32 = 1 << 20
  /// Raw bytes in a chunk.
  public static let chunkRawBytes: UInt32 = 16 << 20
  /// Raw and stored bytes of a bank: sums over all banks of a root fit 64 bits.
  public static let bankBytes: UInt64 = 1 << 47
  /// Bytes of the largest zstd window.
  static let zstdWindow: UInt64 = 1 << 27
  /// Bytes of unlisted roots that are hashed in vain before a search gives up.
  static let vainHashing: UInt64 = 256 << 20
  /// Bytes in a name.
  public static let nameBytes = 1024
  /// Dimensions of a tensor.
  public static let rank = 8
  /// The largest dimension.
  public static let dimension: UInt64 = 1 << 40
  /// Elements, and raw bytes, of a tensor.
  public static let tensorBytes: UInt64 = 1 << 46
}

/// Rounds `value` up to a multiple of `alignment`, a power of two; nil on overflow.
func aligned(_ value: UInt64, to alignment: UInt64) -> UInt64? {
  let (sum, overflow) = value.addingReportingOverflow(alignment - 1)
  return overflow ? nil : sum & ~(alignment - 1)
}

/// Whether `name` may stand in a file: 1 to 1,024 bytes, no control characters, no component `..`.
public func isValidName(_ name: String) -> Bool {
  guard (1...Limits.nameBytes).contains(name.utf8.count) else { return false }
  // Nearly all names are plain: no control characters, no non-ASCII, no two dots in a row.
  var last: UInt8 = 0
  let isPlain = name.utf8.allSatisfy { byte in
    defer { last = byte }
    return (0x20..<0x7F).contains(byte) && !(byte == UInt8(ascii: ".") && last == byte)
  }
  if isPlain { return true }
  for scalar in name.unicodeScalars {
    if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) { return false }
  }
  return !name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    .contains { $0.elementsEqual("..".utf8) }
}
