import LMoECore

/// How another bundle stores an entry that is to be copied: its chunks go over as they are, each checked
/// against its stored hash, and none is decoded.
struct StoredEntry: Sendable {
  let entry: Entry
  let bank: String
  let path: String
  let reader: ChunkReader

  /// The stored bytes of one of its chunks, checked.
  @unsafe func bytes(
    of chunk: Chunk, in buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) -> UnsafeRawBufferPointer {
    let stored = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<chunk.storedLength])
    do throws(FormatError) {
      try io { () throws(FileError) in try unsafe reader.file.read(into: stored, at: chunk.offset) }
      guard unsafe Checksum.hash64(UnsafeRawBufferPointer(stored)) == chunk.storedHash else {
        throw FormatError(.chunkDamaged, offset: chunk.offset)
      }
    } catch {
      throw error.at(path: path, bank: bank, entry: entry.name)
    }
    return UnsafeRawBufferPointer(stored)
  }

  /// Makes sure that there is something to copy: a tensor of an external bank has nothing but its hash.
  func requireCopyable(isExternal: Bool) throws(FormatError) {
    if entry.type.rawBytes == 0, entry.contentHash != Checksum.hash128([]) {
      throw FormatError(.contentMismatch, path: path, bank: bank, entry: entry.name)
    }
    let needsBytes = entry.class == .document || !isExternal
    if needsBytes, entry.chunks.isEmpty, entry.type.rawBytes > 0 {
      throw FormatError(.external, path: path, bank: bank, entry: entry.name)
    }
  }

  /// Whether both are the same bytes of the same file.
  func hasSameChunks(as other: StoredEntry) -> Bool {
    reader.file === other.reader.file && entry.chunks == other.entry.chunks
  }
}

extension NewEntry {
  /// A tensor or document of another bundle, to be copied as it is stored there, whatever the writer's codec.
  ///
  /// In an external bank a tensor is recorded by the hash that the other bundle's manifest has: nothing is
  /// read.
  public init(copying item: BankedEntry, of bundle: Bundle) {
    let entry = item.entry
    self.init(
      entry.class, entry.name, type: entry.type,
      source: EntrySource(reader: bundle.chunkReader, entry: entry))
    stored = StoredEntry(
      entry: entry, bank: item.bank, path: bundle.path, reader: bundle.chunkReader)
  }
}

extension Bundle {
  /// All tensors and documents of a bank, to be copied as they are stored.
  public func entriesToCopy(of bank: BankEntry) throws(FormatError) -> [NewEntry] {
    try manifest(of: bank).entries.map {
      NewEntry(copying: BankedEntry(bank: bank.name, entry: $0), of: self)
    }
  }
}
