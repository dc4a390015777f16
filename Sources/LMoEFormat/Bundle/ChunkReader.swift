import LMoECore

/// Reads, checks and decodes chunks of one file, from any thread.
struct ChunkReader: Sendable {
  let file: any File
  let checks: Bool
  let coders = CoderPool()

  /// Reads a chunk, checks its stored bytes, and decodes it into `raw`, which has its raw length.
  @unsafe func decode(
    _ chunk: Chunk, of type: TensorType, into raw: UnsafeMutableRawBufferPointer, with coder: ChunkCoder
  ) throws(FormatError) {
    // Raw chunks are read where they are wanted; others through the output buffer.
    let stored =
      unsafe chunk.codec == .raw ? raw : coder.output.prefix(chunk.storedLength)
    try io { () throws(FileError) in try unsafe file.read(into: stored, at: chunk.offset) }
    let bytes = UnsafeRawBufferPointer(stored)
    if checks, unsafe Checksum.hash64(bytes) != chunk.storedHash {
      throw FormatError(.chunkDamaged, offset: chunk.offset)
    }
    guard chunk.codec != .raw else { return }
    if let problem = unsafe coder.decode(chunk, of: type, bytes, into: raw) {
      throw FormatError(.chunkInvalid, offset: chunk.offset, field: problem)
    }
  }
}

/// The scratch space to check stored bytes, one thread at a time.
final class CheckWindow: Sendable {
  /// Small enough to stay in a core's cache between reading and hashing: a quarter faster than whole chunks.
  static let bytes = 128 << 10

  let buffer = RawBuffer(count: bytes)
  let hash = StreamingHash()
}

extension ChunkReader {
  /// Checks a chunk's stored bytes against their hash.
  func check(_ chunk: Chunk, with window: CheckWindow) throws(FormatError) {
    window.hash.reset()
    var done = 0
    while done < chunk.storedLength {
      let part = unsafe window.buffer.prefix(min(CheckWindow.bytes, chunk.storedLength - done))
      try io { () throws(FileError) in try unsafe file.read(into: part, at: chunk.offset + UInt64(done)) }
      unsafe window.hash.update(UnsafeRawBufferPointer(part))
      done += part.count
    }
    if window.hash.digest64 != chunk.storedHash { throw FormatError(.chunkDamaged, offset: chunk.offset) }
  }

  /// Checks a chunk that is going to be used from the map.
  ///
  /// Its pages are brought in by a call that says if that fails; where there is none, or it does, positioned
  /// reads come first.
  func check(_ chunk: Chunk, in region: MappedRegion, with window: CheckWindow) throws(FormatError) {
    guard let start = Int(exactly: chunk.offset) else {
      throw FormatError(.chunkDamaged, offset: chunk.offset)
    }
    let range = start..<start + chunk.storedLength
    guard region.populate(range) else { return try check(chunk, with: window) }
    if unsafe Checksum.hash64(UnsafeRawBufferPointer(rebasing: region.bytes[range])) != chunk.storedHash {
      throw FormatError(.chunkDamaged, offset: chunk.offset)
    }
  }
}

/// The raw bytes of a stored entry, decoded on demand.
struct EntrySource: ByteSource {
  let reader: ChunkReader
  let entry: Entry

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    guard entry.chunkRawBytes > 0 else { return }
    let base = Int(offset)
    var position = base
    let end = base + buffer.count
    while position < end {
      let number = position / entry.chunkRawBytes
      let chunk = entry.chunks[number]
      let start = number * entry.chunkRawBytes
      let stop = min(end, start + chunk.rawLength)
      let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[position - base..<stop - base])
      let coder = try reader.coders.borrow(chunkBytes: entry.chunkRawBytes)
      defer { reader.coders.giveBack(coder) }
      if position == start && stop == start + chunk.rawLength {
        try unsafe reader.decode(chunk, of: entry.type, into: target, with: coder)
      } else {
        let whole = unsafe coder.raw.prefix(chunk.rawLength)
        try unsafe reader.decode(chunk, of: entry.type, into: whole, with: coder)
        unsafe target.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: whole[position - start..<stop - start]))
      }
      position = stop
    }
  }
}
