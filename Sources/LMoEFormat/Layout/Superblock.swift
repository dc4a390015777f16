public import LMoECore

/// The feature words: unknown `compat` bits are ignored, `readOnly` bits forbid writing, `incompatible` bits
/// forbid reading.
public struct Features: Hashable, Sendable {
  /// Unknown bits are ignored.
  public var compatible: UInt64 = 0
  /// Unknown bits forbid writing.
  public var readOnly: UInt64 = 0
  /// Unknown bits forbid reading.
  public var incompatible: UInt64 = 0

  /// No features: all that version 1 defines.
  public init() {}

  /// Makes sure that what carries these features may be written anew.
  ///
  /// - Throws: `unsupported-feature`, `read-only-feature`.
  func requireWritable(_ path: String) throws(FormatError) {
    guard incompatible == 0 else {
      throw FormatError(.unsupportedFeature, path: path, field: "incompat \(Self.names(incompatible))")
    }
    guard readOnly == 0 else {
      throw FormatError(.readOnlyFeature, path: path, field: Self.names(readOnly))
    }
  }

  static func names(_ word: UInt64) -> String {
    (0..<64).filter { word >> $0 & 1 == 1 }.map { "bit \($0)" }.joined(separator: ", ")
  }
}

/// The record that publishes a generation: it names the root.
public struct Superblock: Hashable, Sendable {
  /// The header's.
  public var fileUUID: Bits128
  /// From 1.
  public var generation: UInt64
  /// The feature words.
  public var features: Features
  /// Where the root lies.
  public var root: Extent
  /// Nanoseconds since 1970.
  public var commitNanoseconds: UInt64
  /// A hint: bytes that a compacted copy would have.
  public var liveBytes: UInt64
  /// Who wrote it; informational.
  public var writer: String

  static let magic = Array("LMOESB1\n".utf8)
  static let copies: [UInt64] = [0, 2048]

  /// The slot this generation goes to.
  var slot: UInt64 { Limits.slots[Int(generation & 1)] }

  /// The end of the segment: where the next one begins.
  public var committedEnd: UInt64 { aligned(root.end, to: Limits.segmentAlignment) ?? root.end }

  /// The 512-byte record.
  func record() -> [UInt8] {
    var bytes = Self.magic
    bytes.append(fileUUID)
    bytes.append(little: generation)
    bytes.append(little: features.compatible)
    bytes.append(little: features.readOnly)
    bytes.append(little: features.incompatible)
    bytes.append(little: committedEnd)
    bytes.append(little: root.offset)
    bytes.append(little: root.length)
    bytes.append(root.hash)
    bytes.append(little: commitNanoseconds)
    bytes.append(little: liveBytes)
    let name = Array(writer.utf8.prefix(64))
    bytes.append(contentsOf: name)
    bytes.append(zeros: 64 - name.count)
    return sealed(bytes)
  }

  /// The 4,096 bytes of the slot: the record twice.
  func slotBytes() -> [UInt8] {
    let record = record()
    var bytes = [UInt8](repeating: 0, count: Limits.slotBytes)
    for copy in Self.copies { bytes.replaceSubrange(Int(copy)..<Int(copy) + record.count, with: record) }
    return bytes
  }

  /// Reads a record whose checksum holds.
  init(parsing record: [UInt8], slot: Int, header: Header) throws(FormatError) {
    let fields = Fields(record)
    func require(_ holds: Bool, _ field: String) throws(FormatError) {
      if !holds { throw FormatError(.superblockInvalid, offset: Limits.slots[slot], field: field) }
    }
    try require(record.starts(with: Self.magic), "magic")
    fileUUID = fields.bits128(8)
    try require(fileUUID == header.fileUUID, "file_uuid")
    generation = fields.u64(24)
    try require(generation >= 1 && generation & 1 == UInt64(slot), "generation")
    features = Features()
    features.compatible = fields.u64(32)
    features.readOnly = fields.u64(40)
    features.incompatible = fields.u64(48)
    let isForeign = features.incompatible != 0
    root = Extent(offset: fields.u64(64), length: fields.u64(72), hash: fields.bits128(80))
    commitNanoseconds = fields.u64(96)
    liveBytes = fields.u64(104)
    writer = String(decoding: fields.slice(112, 64).prefix { $0 != 0 }, as: UTF8.self)
    // A later version may use what follows otherwise; it is refused by its feature bit, if it is the newest.
    if isForeign { return }
    try require(
      root.offset >= Limits.fixedArea && root.offset.isMultiple(of: Limits.segmentAlignment)
        && root.offset < 1 << 63, "root_offset")
    try require((Root.minimumBytes...Limits.rootBytes).contains(root.length), "root_length")
    try require(fields.u64(56) == committedEnd, "committed_end")
    try require(fields.isZero(176..<504), "reserved")
  }

  /// Makes a superblock of its facts.
  init(
    fileUUID: Bits128, generation: UInt64, features: Features, root: Extent, commitNanoseconds: UInt64,
    liveBytes: UInt64, writer: String
  ) {
    self.fileUUID = fileUUID
    self.generation = generation
    self.features = features
    self.root = root
    self.commitNanoseconds = commitNanoseconds
    self.liveBytes = liveBytes
    self.writer = writer
  }
}

/// A range of the file with the XXH3-128 of its bytes.
public struct Extent: Hashable, Sendable {
  /// Where it begins.
  public var offset: UInt64
  /// Its length in bytes.
  public var length: UInt64
  /// The hash of its bytes.
  public var hash: Bits128

  /// No bytes at all.
  static let none = Extent(offset: 0, length: 0, hash: .zero)

  /// One past its last byte; `UInt64.max` on overflow, which no check accepts.
  var end: UInt64 {
    let (sum, overflow) = offset.addingReportingOverflow(length)
    return overflow ? .max : sum
  }
}
