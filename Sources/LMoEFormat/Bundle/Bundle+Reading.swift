public import LMoECore

/// An entry together with its bank.
public struct BankedEntry: Hashable, Sendable {
  /// The bank's full name.
  public let bank: String
  /// The entry.
  public let entry: Entry

  /// Pairs them.
  public init(bank: String, entry: Entry) {
    self.bank = bank
    self.entry = entry
  }
}

extension Bundle {
  /// Decodes entries on all workers, chunk by chunk, each checked: stored hash before decoding, content hash
  /// after the last chunk.
  ///
  /// - Parameters:
  ///   - entries: What to decode.
  ///   - pool: The workers.
  ///   - sink: Takes the raw bytes of a chunk: the index into `entries`, the offset in the entry, the bytes.
  ///     Called from any worker, in no order.
  /// - Throws: `chunk-damaged`, `chunk-invalid`, `content-mismatch`, `external`, `io`, or what `sink` throws.
  public func decode(
    _ entries: [BankedEntry], on pool: WorkerPool = .shared,
    _ sink: @escaping @Sendable (Int, Int, UnsafeRawBufferPointer) throws(FormatError) -> Void
  ) throws(FormatError) {
    let jobs = ChunkJobs(entries.map(\.entry))
    for item in entries where item.entry.chunks.isEmpty { try requireEmpty(item) }
    let hash = StreamingHash()
    let checks = chunkReader.checks
    try OrderedJobs<FormatError>.run(count: jobs.count, on: pool) { (turn) throws(FormatError) in
      let (index, number) = jobs[turn.index]
      let item = entries[index]
      let chunk = item.entry.chunks[number]
      let coder = try self.chunkReader.coders.borrow(chunkBytes: item.entry.chunkRawBytes)
      defer { self.chunkReader.coders.giveBack(coder) }
      let raw = unsafe coder.raw.prefix(chunk.rawLength)
      do throws(FormatError) {
        unsafe try self.chunkReader.decode(chunk, of: item.entry.type, into: raw, with: coder)
        let passed: Bool? = try turn.inTurn { () throws(FormatError) in
          guard checks else { return true }
          if number == 0 { hash.reset() }
          unsafe hash.update(UnsafeRawBufferPointer(raw))
          if number == item.entry.chunks.count - 1, hash.digest != item.entry.contentHash {
            throw FormatError(.contentMismatch, offset: item.entry.chunks[0].offset)
          }
          return true
        }
        guard passed != nil else { return }
        unsafe try sink(index, number * item.entry.chunkRawBytes, UnsafeRawBufferPointer(raw))
      } catch {
        throw error.at(path: self.path, bank: item.bank, entry: item.entry.name)
      }
    }
  }

  /// All raw bytes of an entry, decoded and checked.
  ///
  /// For documents and small tensors: it allocates `rawBytes`.
  public func bytes(
    of entry: Entry, in bank: BankEntry, on pool: WorkerPool = .shared
  ) throws(FormatError) -> [UInt8] {
    let buffer = RawBuffer(count: entry.type.rawBytes)
    try unsafe decode([BankedEntry(bank: bank.name, entry: entry)], on: pool) { (_, offset, bytes) in
      unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[offset..<offset + bytes.count])
        .copyMemory(from: bytes)
    }
    return unsafe Array(buffer.prefix(entry.type.rawBytes))
  }

  /// The raw bytes of an entry, part by part, each chunk checked before it is decoded.
  public func source(of entry: Entry) -> any ByteSource {
    EntrySource(reader: chunkReader, entry: entry)
  }

  /// The bytes of a document of a bank, checked; nil if there is none of that name.
  public func document(_ name: String, in bank: BankEntry) throws(FormatError) -> [UInt8]? {
    guard let entry = try manifest(of: bank).document(name) else { return nil }
    return try bytes(of: entry, in: bank)
  }

  /// The bytes of a raw tensor, straight from the memory map; nil if it is not raw, or maps are not wanted.
  ///
  /// They are checked against the chunk hashes the first time, unless verification is off, and are valid as
  /// long as the region is alive.
  public func mappedBytes(
    of entry: Entry, in bank: BankEntry
  ) throws(FormatError) -> (region: MappedRegion, range: Range<Int>)? {
    guard options.usesMap, entry.isRawExtent, let first = entry.chunks.first,
      let start = Int(exactly: first.offset)
    else { return nil }
    let region = try mapped()
    let range = start..<start + entry.type.rawBytes
    let isVerified =
      options.verification == .off || verifiedExtents.withValue { $0.contains(entry.chunks) }
    if !isVerified {
      do throws(FormatError) {
        let window = CheckWindow()
        for chunk in entry.chunks { try chunkReader.check(chunk, in: region, with: window) }
      } catch {
        throw error.at(path: path, bank: bank.name, entry: entry.name)
      }
      verifiedExtents.withValue { _ = $0.insert(entry.chunks) }
    }
    return (region, range)
  }

  /// The map of the committed file, made on first use.
  func mapped() throws(FormatError) -> MappedRegion {
    try mapping.withValue { (region) throws(FormatError) in
      if let region { return region }
      let length = min(superblock.committedEnd, fileBytes)
      let made = try io { () throws(FileError) in try file.map(length: length) }
      region = made
      return made
    }
  }
}

/// All chunks of a list of entries, as one numbered list.
struct ChunkJobs: Sendable {
  private let ends: [Int]
  /// The number of chunks.
  let count: Int

  init(_ entries: [Entry]) { self.init(counts: entries.map(\.chunks.count)) }

  init(counts: [Int]) {
    var total = 0
    ends = counts.map { count in
      total += count
      return total
    }
    count = total
  }

  /// The entry's index and the chunk's number in it.
  subscript(job: Int) -> (entry: Int, chunk: Int) {
    var low = 0
    var high = ends.count
    while low < high {
      let middle = (low + high) / 2
      if ends[middle] <= job { low = middle + 1 } else { high = middle }
    }
    return (low, job - (low > 0 ? ends[low - 1] : 0))
  }
}
