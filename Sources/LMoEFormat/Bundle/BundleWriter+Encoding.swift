private import CLMoEKernels
import LMoECore

extension BundleWriter {
  /// Writes the chunks of `entries`, sorted, and returns the manifest that lists them.
  func write(_ entries: [NewEntry], isExternal: Bool) throws(FormatError) -> Manifest {
    let plan = try WritePlan(entries, isExternal: isExternal, writer: self)
    let fresh = plan.fresh
    let counts = fresh.map { $0.chunkCount }
    let jobs = ChunkJobs(counts: counts)
    let results = EncodedEntries(plan: plan, end: end)
    if !isExternal && options.codec == .raw {
      // What is known to be needed: a full disk should be news before hours of work.
      let needed = fresh.reduce(UInt64(0)) {
        $0 + ($1.entry.stored?.entry.storedBytes ?? UInt64($1.entry.type.rawBytes))
      }
      try io { () throws(FileError) in try self.file.reserve(needed, at: end) }
    }
    while coders.count < options.pool.count { coders.append(try ChunkCoder()) }
    let largest = fresh.map(\.chunkRawBytes).max() ?? 1
    for coder in coders { coder.reserve(largest) }

    let (coders, file, codec, progress) = (coders, file, options.codec, options.progress)
    try OrderedJobs<FormatError>.run(count: jobs.count, on: options.pool) { (turn) throws(FormatError) in
      let (index, number) = jobs[turn.index]
      let item = fresh[index]
      let coder = coders[turn.worker]
      do throws(FormatError) {
        let offset = number * item.chunkRawBytes
        let count = min(item.chunkRawBytes, item.entry.type.rawBytes - offset)
        let raw = unsafe coder.raw.prefix(count)
        if let stored = item.entry.stored {
          let chunk = stored.entry.chunks[number]
          let bytes = try unsafe stored.bytes(of: chunk, in: raw)
          let place = try turn.inTurn { () throws(FormatError) in
            try results.place(chunk, of: index, number: number)
          }
          guard let place else { return }
          try io { () throws(FileError) in try unsafe file.write(bytes, at: place) }
          progress(UInt64(count))
          return
        }
        try unsafe item.entry.source.read(into: raw, at: UInt64(offset))
        let bytes = UnsafeRawBufferPointer(raw)
        unsafe item.entry.observer?.observe(bytes, at: offset)
        if isExternal && item.entry.class == .tensor {
          try turn.inTurn { unsafe results.hash(bytes, of: index, number: number) }
          progress(UInt64(count))
          return
        }
        let encoded = try unsafe Self.encode(bytes, of: item.entry, codec, with: coder)
        let place = try turn.inTurn { () throws(FormatError) in
          unsafe results.hash(bytes, of: index, number: number)
          return try unsafe results.place(encoded.chunk, of: index, number: number)
        }
        guard let place else { return }
        try io { () throws(FileError) in try unsafe file.write(encoded.bytes, at: place) }
        progress(UInt64(count))
      } catch {
        throw error.at(entry: item.entry.name)
      }
    }
    try fillGaps(results)
    // What was reserved and not needed goes back.
    try io { () throws(FileError) in try file.truncate(to: end) }
    return plan.manifest(with: results)
  }

  /// Encodes one chunk of an entry.
  @unsafe private static func encode(
    _ raw: UnsafeRawBufferPointer, of entry: NewEntry, _ codec: CodecPolicy, with coder: ChunkCoder
  ) throws(FormatError) -> (chunk: Chunk, bytes: UnsafeRawBufferPointer) {
    switch (entry.class, codec) {
    case (.document, _):
      return try unsafe checked(coder.encodeDocument(raw), of: entry.type, raw, with: coder)
    case (.tensor, .planes):
      return try unsafe encode(raw, of: entry.type, with: coder)
    case (.tensor, .raw):
      let encoded = unsafe ChunkCoder.Encoded(codec: .raw, filter: .none, planes: 0, bytes: raw)
      return try unsafe checked(encoded, of: entry.type, raw, with: coder)
    }
  }

  /// Encodes one chunk of a tensor as planes, and makes sure that it decodes to what went in.
  @unsafe static func encode(
    _ raw: UnsafeRawBufferPointer, of type: TensorType, with coder: ChunkCoder
  ) throws(FormatError) -> (chunk: Chunk, bytes: UnsafeRawBufferPointer) {
    try unsafe checked(coder.encodeTensor(raw, of: type), of: type, raw, with: coder)
  }

  @unsafe private static func checked(
    _ encoded: ChunkCoder.Encoded, of type: TensorType, _ raw: UnsafeRawBufferPointer,
    with coder: ChunkCoder
  ) throws(FormatError) -> (chunk: Chunk, bytes: UnsafeRawBufferPointer) {
    let chunk = unsafe Chunk(
      offset: 0, storedLength: encoded.bytes.count, rawLength: raw.count,
      storedHash: Checksum.hash64(encoded.bytes), codec: encoded.codec, filter: encoded.filter,
      planes: UInt8(encoded.planes))
    if encoded.codec != .raw {
      let target = unsafe coder.check.prefix(raw.count)
      let problem = unsafe coder.decode(chunk, of: type, encoded.bytes, into: target)
      let isSame = unsafe UnsafeRawBufferPointer(target).elementsEqualBytes(of: raw)
      if problem != nil || !isSame {
        throw FormatError(.encodingFailed, field: problem ?? "decoded bytes differ")
      }
    }
    return unsafe (chunk, encoded.bytes)
  }

  /// Alignment leaves gaps between chunks; they are zeros in every file, reserved space or not.
  private func fillGaps(_ results: EncodedEntries) throws(FormatError) {
    for gap in results.gaps {
      try io { () throws(FileError) in
        try file.write([UInt8](repeating: 0, count: Int(gap.upperBound - gap.lowerBound)), at: gap.lowerBound)
      }
    }
    end = results.end
  }
}

/// Where the chunks of a write go.
///
/// Used in turn, by one worker at a time.
final class EncodedEntries: @unchecked Sendable {
  private(set) var end: UInt64
  private(set) var gaps: [Range<UInt64>] = []
  private(set) var chunks: [[Chunk]]
  private(set) var hashes: [Bits128]
  private let plan: WritePlan
  private let running = StreamingHash()

  init(plan: WritePlan, end: UInt64) {
    self.plan = plan
    self.end = end
    chunks = plan.fresh.map { _ in [] }
    hashes = plan.fresh.map { $0.entry.stored?.entry.contentHash ?? Checksum.hash128([]) }
  }

  @unsafe func hash(_ raw: UnsafeRawBufferPointer, of index: Int, number: Int) {
    if number == 0 { running.reset() }
    unsafe running.update(raw)
    if number == plan.fresh[index].chunkCount - 1 { hashes[index] = running.digest }
  }

  /// Gives a chunk its offset.
  func place(_ chunk: Chunk, of index: Int, number: Int) throws(FormatError) -> UInt64 {
    // The first chunk's place is that of a raw extent, which the whole entry may turn out to be.
    let alignment = Entry.writingAlignment(
      isRaw: chunk.codec == .raw, number: number, rawBytes: plan.fresh[index].entry.type.rawBytes)
    guard let start = aligned(end, to: alignment) else { throw FormatError(.tooLarge, field: "file") }
    if start > end { gaps.append(end..<start) }
    var placed = chunk
    placed.offset = start
    chunks[index].append(placed)
    end = start + UInt64(chunk.storedLength)
    return start
  }
}
