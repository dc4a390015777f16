import LMoECore

extension Root {
  /// Reads a root from its bytes, which lie at `offset`.
  ///
  /// - Throws: `root-damaged` if the trailer does not hold, `root-invalid` for any other broken rule.
  init(parsing bytes: [UInt8], at offset: UInt64, header: Header, checking: Bool = true) throws(FormatError) {
    func require(_ holds: Bool, _ field: String) throws(FormatError) {
      if !holds { throw FormatError(.rootInvalid, offset: offset, field: field) }
    }
    guard bytes.count >= Int(Self.minimumBytes) else {
      throw FormatError(.rootInvalid, offset: offset, field: "total_length")
    }
    let body = bytes.count - Self.trailerBytes
    let fields = Fields(bytes)
    if checking, Checksum.hash128(Array(bytes[..<body])) != fields.bits128(body) {
      throw FormatError(.rootDamaged, offset: offset)
    }
    try require(bytes.starts(with: Self.magic), "magic")
    fileUUID = fields.bits128(8)
    try require(fileUUID == header.fileUUID, "file_uuid")
    generation = fields.u64(24)
    try require(generation >= 1, "generation")
    features = Features()
    features.compatible = fields.u64(32)
    features.readOnly = fields.u64(40)
    features.incompatible = fields.u64(48)
    commitNanoseconds = fields.u64(96)
    try require(fields.u64(104) == UInt64(bytes.count), "total_length")
    try require(fields.isZero(124..<128), "reserved")

    let link = Extent(offset: fields.u64(56), length: fields.u64(64), hash: fields.bits128(72))
    let parentGeneration = fields.u64(88)
    if link.offset == 0 {
      try require(link == .none && parentGeneration == 0, "parent")
      parent = nil
    } else {
      try require(
        link.offset >= Limits.fixedArea && link.offset.isMultiple(of: Limits.segmentAlignment)
          && (Self.minimumBytes...Limits.rootBytes).contains(link.length) && link.end <= offset, "parent")
      try require(parentGeneration >= 1 && parentGeneration < generation, "parent_generation")
      try require(link.hash != .zero, "parent_hash")
      parent = Parent(extent: link, generation: parentGeneration)
    }

    let count = fields.u32(112)
    let stringBytes = UInt64(fields.u32(116))
    let noteLength = UInt64(fields.u32(120))
    try require(count <= Limits.banks, "bank_count")
    let needed = UInt64(Self.headBytes) + UInt64(count) * UInt64(BankEntry.encodedBytes) + stringBytes
    try require(needed == UInt64(body), "total_length")
    try require(noteLength <= stringBytes, "note_length")

    let stringStart = Self.headBytes + Int(count) * BankEntry.encodedBytes
    guard let note = String(validating: fields.slice(stringStart, Int(noteLength)), as: UTF8.self) else {
      throw FormatError(.rootInvalid, offset: offset, field: "note")
    }
    self.note = note
    banks = []
    banks.reserveCapacity(Int(count))
    var nameStart = Int(noteLength)
    var ids: Set<Bits128> = []
    for index in 0..<Int(count) {
      let record = Fields(
        fields.slice(Self.headBytes + index * BankEntry.encodedBytes, BankEntry.encodedBytes))
      let length = Int(record.u16(20))
      try require(record.u32(16) == UInt32(nameStart), "name_offset")
      try require(nameStart + length <= Int(stringBytes), "name_length")
      guard let name = String(validating: fields.slice(stringStart + nameStart, length), as: UTF8.self),
        isValidName(name)
      else { throw FormatError(.rootInvalid, offset: offset, field: "name of bank \(index)") }
      nameStart += length
      let bank = try BankEntry(parsing: record, name: name, rootOffset: offset)
      if let last = banks.last { try require(ByteKey(last.name) < ByteKey(name), "order of banks") }
      try require(ids.insert(bank.id).inserted, "bank_id")
      banks.append(bank)
    }
    try require(nameStart == Int(stringBytes), "string_bytes")
  }
}

extension BankEntry {
  init(parsing record: Fields, name: String, rootOffset: UInt64) throws(FormatError) {
    func require(_ holds: Bool, _ field: String) throws(FormatError) {
      if !holds { throw FormatError(.rootInvalid, bank: name, offset: rootOffset, field: field) }
    }
    self.name = name
    id = record.bits128(0)
    try require(id != .zero, "bank_id")
    let flags = record.u16(22)
    try require(flags & ~3 == 0, "flags")
    isExternal = flags & 1 != 0
    isRaw = flags & 2 != 0
    try require(!(isExternal && isRaw), "flags")
    manifest = Extent(offset: record.u64(24), length: record.u64(32), hash: record.bits128(40))
    try require(
      manifest.offset >= Limits.fixedArea && manifest.offset.isMultiple(of: 8) && manifest.end <= rootOffset,
      "manifest_offset")
    try require((64...Limits.manifestBytes).contains(manifest.length), "manifest_length")
    let card = Extent(offset: record.u64(56), length: record.u64(64), hash: record.bits128(72))
    if card.offset == 0 {
      try require(card == .none, "card")
      self.card = nil
    } else {
      try require(
        card.offset >= Limits.fixedArea && card.offset.isMultiple(of: 8) && card.end <= rootOffset,
        "card_offset")
      try require((1...Limits.cardBytes).contains(card.length), "card_length")
      try require(card.hash != .zero, "card_hash")
      self.card = card
    }
    contentID = record.bits128(88)
    tensorCount = record.u32(104)
    documentCount = record.u32(108)
    logicalBytes = record.u64(112)
    storedBytes = record.u64(120)
    try require(logicalBytes <= Limits.bankBytes, "logical_bytes")
    try require(storedBytes <= Limits.bankBytes, "stored_bytes")
    if ["base", "expert", "gate"].contains(kind) {
      try require(self.card != nil, "card")
      try require(kind == "base" ? name == "base" : !shortName.isEmpty, "name")
    }
  }
}
