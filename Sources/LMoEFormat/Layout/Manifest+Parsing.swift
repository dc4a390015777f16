import LMoECore

extension Manifest {
  /// Reads a manifest.
  ///
  /// `bytes` have the length that the root gives; `end` is where the bank's chunks must end.
  ///
  /// - Throws: `manifest-invalid` or `unsupported-dtype`, with the field.
  init(parsing bytes: [UInt8], isExternal: Bool, end: UInt64) throws(FormatError) {
    guard bytes.count >= Self.headBytes else { throw FormatError(.manifestInvalid, field: "total_length") }
    let fields = Fields(bytes)
    func require(_ holds: Bool, _ field: String, _ entry: String? = nil) throws(FormatError) {
      if !holds { throw FormatError(.manifestInvalid, entry: entry, field: field) }
    }
    try require(bytes.starts(with: Self.magic), "magic")
    try require(fields.u64(8) == UInt64(bytes.count), "total_length")
    let counts = (
      entries: fields.u32(16), chunks: fields.u32(20), dimensions: fields.u32(24),
      geometries: fields.u32(28), strings: fields.u32(32)
    )
    try require(counts.entries <= Limits.entries, "entry_count")
    try require(counts.geometries <= 255, "geometry_count")
    try require(fields.isZero(36..<64), "reserved")
    // 32-bit counts times small sizes cannot overflow 64 bits.
    let needed =
      UInt64(Self.headBytes) + 64 * UInt64(counts.entries) + 32 * UInt64(counts.chunks)
      + 8 * UInt64(counts.dimensions) + 40 * UInt64(counts.geometries) + UInt64(counts.strings)
    try require(needed == UInt64(bytes.count), "total_length")

    let chunkStart = Self.headBytes + 64 * Int(counts.entries)
    let dimensionStart = chunkStart + 32 * Int(counts.chunks)
    let geometryStart = dimensionStart + 8 * Int(counts.dimensions)
    let stringStart = geometryStart + 40 * Int(counts.geometries)

    var geometries: [BlockGeometry] = []
    for index in 0..<Int(counts.geometries) {
      guard let geometry = BlockGeometry(parsing: Fields(fields.slice(geometryStart + 40 * index, 40))) else {
        throw FormatError(.manifestInvalid, field: "geometry \(index + 1)")
      }
      try require(!geometries.contains(geometry), "equal geometries")
      geometries.append(geometry)
    }
    var usedGeometries = 0
    var (logicalBytes, storedBytes): (UInt64, UInt64) = (0, 0)

    entries = []
    entries.reserveCapacity(Int(counts.entries))
    var (nextName, nextChunk, nextDimension) = (0, 0, 0)
    for index in 0..<Int(counts.entries) {
      let record = Fields(fields.slice(Self.headBytes + 64 * index, 64))
      let length = Int(record.u16(4))
      try require(record.u32(0) == UInt32(nextName), "name_offset")
      try require(nextName + length <= Int(counts.strings), "name_length")
      guard let name = String(validating: fields.slice(stringStart + nextName, length), as: UTF8.self),
        isValidName(name)
      else { throw FormatError(.manifestInvalid, field: "name of entry \(index)") }
      nextName += length
      guard let entryClass = Entry.Class(rawValue: record.u8(6)) else {
        throw FormatError(.manifestInvalid, entry: name, field: "class")
      }
      guard let dtype = DType(rawValue: record.u8(7)) else {
        throw FormatError(
          .unsupportedDType, entry: name, found: "0x" + String(record.u8(7), radix: 16))
      }
      let rank = Int(record.u8(8))
      try require(rank <= Limits.rank, "rank", name)
      try require(
        record.isZero(10..<12) && record.isZero(28..<32) && record.isZero(56..<64), "reserved", name)
      let geometryNumber = Int(record.u8(9))
      try require(geometryNumber <= geometries.count, "geometry", name)
      try require(geometryNumber <= usedGeometries + 1, "order of geometries", name)
      usedGeometries = max(usedGeometries, geometryNumber)
      try require(record.u32(12) == UInt32(nextDimension), "first_dim", name)
      try require(nextDimension + rank <= Int(counts.dimensions), "dim_count", name)
      let shape = (0..<rank).map { fields.u64(dimensionStart + 8 * (nextDimension + $0)) }
      nextDimension += rank
      guard
        let type = TensorType(
          dtype: dtype, geometry: geometryNumber > 0 ? geometries[geometryNumber - 1] : nil, shape: shape)
      else { throw FormatError(.manifestInvalid, entry: name, field: "shape") }
      try require(record.u64(32) == UInt64(type.rawBytes), "raw_bytes", name)
      if entryClass == .document {
        try require(dtype == .u8 && rank == 1, "type of a document", name)
        try require(UInt64(type.rawBytes) <= Limits.documentBytes, "raw_bytes", name)
      }
      if let last = entries.last {
        try require(
          (last.class.rawValue, ByteKey(last.name)) < (entryClass.rawValue, ByteKey(name)),
          "order of entries", name)
      }

      let chunkCount = record.u32(20)
      let chunkRawBytes = record.u32(24)
      try require(record.u32(16) == UInt32(nextChunk), "first_chunk", name)
      try require(chunkCount <= Limits.chunksPerEntry, "chunk_count", name)
      try require(nextChunk + Int(chunkCount) <= Int(counts.chunks), "chunk_count", name)
      let isAbsent = type.rawBytes == 0 || (isExternal && entryClass == .tensor)
      if isAbsent {
        try require(chunkCount == 0, "chunk_count", name)
        try require(chunkRawBytes == 0, "chunk_raw_bytes", name)
      } else {
        let raw = Int(chunkRawBytes)
        try require(
          raw >= 1 && chunkRawBytes <= Limits.chunkRawBytes && raw <= type.rawBytes
            && raw.isMultiple(of: type.unitBytes), "chunk_raw_bytes", name)
        try require((type.rawBytes + raw - 1) / raw == Int(chunkCount), "chunk_count", name)
      }
      var chunks: [Chunk] = []
      chunks.reserveCapacity(Int(chunkCount))
      for number in 0..<Int(chunkCount) {
        let rest = type.rawBytes - number * Int(chunkRawBytes)
        let fields = Fields(fields.slice(chunkStart + 32 * (nextChunk + number), 32))
        chunks.append(
          try Chunk(
            parsing: fields, rawLength: min(rest, Int(chunkRawBytes)), type: type, class: entryClass,
            end: end, entry: name))
      }
      nextChunk += Int(chunkCount)
      let entry = Entry(
        name: name, class: entryClass, type: type, chunkRawBytes: Int(chunkRawBytes),
        contentHash: record.bits128(40), chunks: chunks)
      try entry.checkRawExtent()
      // Both terms are far below 2^63, and the sums are checked at each step.
      if entryClass == .tensor { logicalBytes += UInt64(type.rawBytes) }
      storedBytes += entry.storedBytes
      try require(logicalBytes <= Limits.bankBytes && storedBytes <= Limits.bankBytes, "sum of bytes", name)
      entries.append(entry)
    }
    try require(nextName == Int(counts.strings), "string_bytes")
    try require(nextChunk == Int(counts.chunks), "chunk_count")
    try require(nextDimension == Int(counts.dimensions), "dim_count")
    try require(usedGeometries == geometries.count, "unused geometry")
  }
}

extension Manifest {
  /// Calls `visit` with size, dtype and content hash of each stored tensor, without checking anything else.
  static func scanTensors(_ bytes: [UInt8], _ visit: (Int, UInt8, Bits128) -> Void) {
    guard bytes.count >= headBytes else { return }
    let fields = Fields(bytes)
    let count = min(Int(fields.u32(16)), (bytes.count - headBytes) / Entry.encodedBytes)
    for index in 0..<count {
      let record = headBytes + Entry.encodedBytes * index
      let isStoredTensor = fields.u8(record + 6) == Entry.Class.tensor.rawValue && fields.u32(record + 20) > 0
      if isStoredTensor, let rawBytes = Int(exactly: fields.u64(record + 32)) {
        visit(rawBytes, fields.u8(record + 7), fields.bits128(record + 40))
      }
    }
  }
}

extension Chunk {
  init(
    parsing record: Fields, rawLength: Int, type: TensorType, class: Entry.Class, end: UInt64, entry: String
  ) throws(FormatError) {
    func require(_ holds: Bool, _ field: String) throws(FormatError) {
      if !holds { throw FormatError(.manifestInvalid, entry: entry, field: "chunk " + field) }
    }
    offset = record.u64(0)
    storedLength = Int(record.u32(8))
    self.rawLength = rawLength
    storedHash = record.u64(16)
    try require(Int(record.u32(12)) == rawLength, "raw_length")
    guard let codec = Codec(rawValue: record.u8(24)), let filter = Filter(rawValue: record.u8(25)) else {
      throw FormatError(.manifestInvalid, entry: entry, field: "chunk codec")
    }
    self.codec = codec
    self.filter = filter
    planes = record.u8(26)
    try require(record.isZero(27..<32), "reserved")
    try require(storedLength >= 1 && storedLength <= rawLength, "stored_length")
    let (last, overflow) = offset.addingReportingOverflow(UInt64(storedLength))
    try require(offset >= Limits.fixedArea && !overflow && last <= end, "offset")
    switch codec {
    case .raw: try require(storedLength == rawLength, "stored_length")
    case .zstd, .planes:
      try require(storedLength < rawLength, "stored_length")
      try require(offset.isMultiple(of: 8), "offset")
    }
    switch filter {
    case .none: try require(codec != .planes && planes == 0, "filter")
    case .rotateSplit:
      try require(
        codec == .planes && `class` == .tensor && type.dtype.rotatesSign
          && Int(planes) == type.dtype.elementBytes, "filter")
    case .split:
      try require(
        codec == .planes && `class` == .tensor && Int(planes) == type.dtype.elementBytes, "filter")
    case .structSplit:
      try require(
        codec == .planes && `class` == .tensor && Int(planes) == type.geometry?.fields.count, "filter")
    }
  }
}

extension Entry {
  /// The alignment that the format requires of a raw extent of `rawBytes`.
  static func rawAlignment(_ rawBytes: Int) -> UInt64 { rawBytes >= 4096 ? 256 : 64 }

  /// Where the writer begins chunk `number` of an entry of `rawBytes`: large raw extents at pages, chunks that
  /// go on in one directly behind the last.
  static func writingAlignment(isRaw: Bool, number: Int, rawBytes: Int) -> UInt64 {
    !isRaw ? 8 : number > 0 ? 1 : rawBytes >= 1 << 20 ? 4096 : rawAlignment(rawBytes)
  }

  func checkRawExtent() throws(FormatError) {
    guard let first = chunks.first, isRawExtent else { return }
    var isContiguous = true
    for (chunk, next) in zip(chunks, chunks.dropFirst()) {
      if next.offset != chunk.offset + UInt64(chunk.storedLength) { isContiguous = false }
    }
    guard isContiguous, first.offset.isMultiple(of: Self.rawAlignment(type.rawBytes)) else {
      throw FormatError(.manifestInvalid, entry: name, field: "raw extent")
    }
  }
}
