public import LMoECore

/// The file's identity: 512 bytes, written once, twice.
public struct Header: Hashable, Sendable {
  /// Random, made with the file, kept by compaction.
  public let fileUUID: Bits128
  /// Nanoseconds since 1970.
  public let createdNanoseconds: UInt64

  /// Makes an identity.
  public init(fileUUID: Bits128, createdNanoseconds: UInt64) {
    self.fileUUID = fileUUID
    self.createdNanoseconds = createdNanoseconds
  }

  static let magic: [UInt8] = [0x89, 0x4C, 0x4D, 0x4F, 0x45, 0x0D, 0x0A, 0x1A]
  static let recordBytes = 512
  static let copies: [Int] = [0, 2048]

  /// The 64 KiB fixed area with this header and empty slots.
  func fixedArea() -> [UInt8] {
    var record = Self.magic
    record.append(little: UInt16(1))
    record.append(little: UInt16(0))
    record.append(little: UInt32(Limits.fixedArea))
    record.append(fileUUID)
    record.append(little: Limits.slots[0])
    record.append(little: Limits.slots[1])
    record.append(little: createdNanoseconds)
    record = sealed(record)
    var area = [UInt8](repeating: 0, count: Int(Limits.fixedArea))
    for copy in Self.copies { area.replaceSubrange(copy..<copy + record.count, with: record) }
    return area
  }

  /// Reads the header from the fixed area, and counts damaged copies.
  static func parse(
    _ area: [UInt8], checking: Bool = true
  ) throws(FormatError) -> (header: Header, damaged: Int) {
    let copies = Self.copies.map { Array(area[$0..<$0 + recordBytes]) }
    let whole = copies.filter { !checking || isSealed($0) }
    guard let record = whole.first else {
      let isOurs = copies.contains { $0.starts(with: magic) }
      throw FormatError(isOurs ? .headerDamaged : .notLMoE, offset: 0)
    }
    guard record.starts(with: magic) else { throw FormatError(.notLMoE) }
    let fields = Fields(record)
    guard fields.u16(8) == 1 else {
      throw FormatError(.unsupportedVersion, found: "\(fields.u16(8))")
    }
    func require(_ holds: Bool, _ field: String) throws(FormatError) {
      if !holds { throw FormatError(.headerInvalid, offset: 0, field: field) }
    }
    try require(fields.u32(12) == UInt32(Limits.fixedArea), "fixed_area")
    try require(fields.bits128(16) != .zero, "file_uuid")
    try require(fields.u64(32) == Limits.slots[0], "slot0")
    try require(fields.u64(40) == Limits.slots[1], "slot1")
    try require(fields.isZero(56..<504), "reserved")
    let header = Header(fileUUID: fields.bits128(16), createdNanoseconds: fields.u64(48))
    return (header, copies.count - whole.count)
  }
}

/// Pads a record to 504 bytes and adds the checksum.
func sealed(_ fields: [UInt8]) -> [UInt8] {
  var record = fields
  record.append(zeros: 504 - fields.count)
  record.append(little: Checksum.hash64(record))
  return record
}

/// Whether a 512-byte record's checksum holds.
func isSealed(_ record: [UInt8]) -> Bool {
  Checksum.hash64(Array(record[..<504])) == Fields(record).u64(504)
}
