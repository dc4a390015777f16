public import LMoECore

/// Rewrites a bundle with only what is live, optionally in another codec.
public struct Compaction: Sendable {
  /// What a compaction did.
  public struct Report: Hashable, Sendable {
    /// The file's size before.
    public let bytesBefore: UInt64
    /// Its size now.
    public let bytesAfter: UInt64
    /// The generation now.
    public let generation: UInt64
  }

  /// The codec to convert tensors to; nil keeps each chunk as it is stored.
  public var codec: CodecPolicy?
  /// Whether older generations are carried along.
  ///
  /// Not together with a change of codec.
  public var keepsHistory = false
  /// Whether to take an older generation where the newest is damaged.
  public var recovers = false
  /// How the writer works.
  public var options = BundleWriter.Options()

  /// Keeps codecs, drops history.
  public init() {}

  /// Rewrites the bundle at `path` to `output`, by default over itself.
  ///
  /// Readers of the old file keep it.
  ///
  /// - Throws: Any damage found on the way, with its place; the file at `path` is then as it was.
  public func run(
    _ path: String, output: String? = nil, in system: any FileSystem = PosixFileSystem()
  ) throws(FormatError) -> Report {
    // The writer lock keeps an append from landing in the file that is about to be replaced.
    let isInPlace = output.map { system.resolve($0).hasSameBytes(as: system.resolve(path)) } ?? true
    let lock = isInPlace ? try BundleWriter(appendingTo: path, options: options, in: system) : nil
    defer { lock?.abort() }
    let bundle: Bundle
    if let current = lock?.base {
      bundle = current
    } else {
      var reading = BundleOptions()
      reading.recovers = recovers
      bundle = try Bundle(path: path, options: reading, in: system)
    }
    try bundle.root.features.requireWritable(path)
    var writing = options
    writing.codec = codec ?? .planes
    let writer = try BundleWriter(
      creating: output ?? path, header: bundle.header, generation: try bundle.nextGeneration(),
      options: writing,
      in: system)
    if let temporary = writer.temporary { system.copyPermissions(from: path, to: temporary) }
    do throws(FormatError) {
      var copier = BankCopier(from: bundle, to: writer, codec: codec)
      if keepsHistory {
        for generation in try bundle.history().reversed() {
          try generation.root.features.requireWritable(path)
          writer.banks = []
          try copier.copy(generation.root.banks)
          var root = generation.root
          root.banks = writer.banks
          root.parent = writer.previous
          _ = try writer.append(root)
        }
        writer.banks = []
      }
      try copier.copy(bundle.banks)
      // The lock is on a file, not on a path: another one may have been put there meanwhile.
      try lock?.requireOwnPath()
      try writer.commit(note: codec.map { "compact, codec \($0.rawValue)" } ?? "compact")
    } catch {
      writer.abort()
      throw error
    }
    return Report(bytesBefore: bundle.fileBytes, bytesAfter: writer.end, generation: writer.generation)
  }
}

/// Copies banks between files, each extent once.
struct BankCopier {
  private let bundle: Bundle
  private let writer: BundleWriter
  private let codec: CodecPolicy?
  /// Where entries of the old file are in the new one: their chunks then, the offsets now.
  private var moved: [[Chunk]: [UInt64]] = [:]
  private var manifests: [Extent: Extent] = [:]
  private var cards: [Extent: Extent] = [:]

  init(from bundle: Bundle, to writer: BundleWriter, codec: CodecPolicy?) {
    self.bundle = bundle
    self.writer = writer
    self.codec = codec
  }

  mutating func copy(_ banks: [BankEntry]) throws(FormatError) {
    for bank in banks {
      let manifest = try bundle.manifest(of: bank)
      var card: Extent?
      if let old = bank.card {
        card = cards[old]
        if card == nil, let bytes = try bundle.cardBytes(of: bank) { card = try writer.append(bytes) }
        cards[old] = card
      }
      do throws(FormatError) {
        if let codec, !bank.isExternal {
          try convert(bank, manifest, card: card, to: codec)
        } else {
          try keep(bank, manifest, card: card)
        }
      } catch { throw error.at(path: bundle.path, bank: bank.name) }
    }
  }

  private func convert(
    _ bank: BankEntry, _ manifest: Manifest, card: Extent?, to codec: CodecPolicy
  ) throws(FormatError) {
    var entries: [NewEntry] = []
    for entry in manifest.entries {
      let source = EntrySource(reader: bundle.chunkReader, entry: entry)
      entries.append(NewEntry(entry.class, entry.name, type: entry.type, source: source))
    }
    let written = try writer.write(entries, isExternal: false)
    // The content must not have changed on the way.
    for (old, new) in zip(manifest.entries, written.entries) where old.contentHash != new.contentHash {
      throw FormatError(.contentMismatch, entry: old.name, offset: old.chunks.first?.offset)
    }
    _ = try writer.finishBank(bank.name, id: bank.id, card: card, manifest: written, isExternal: false)
  }

  private mutating func keep(
    _ bank: BankEntry, _ manifest: Manifest, card: Extent?
  ) throws(FormatError) {
    if let known = manifests[bank.manifest] {
      var copy = bank
      copy.manifest = known
      copy.card = card
      writer.insert(copy)
      return
    }
    var copy = manifest
    // First the places, in order; then the bytes, on all workers.
    var work: [(entry: Int, from: Chunk, to: UInt64)] = []
    for (index, entry) in manifest.entries.enumerated() {
      let old = entry.chunks
      if moved[old] == nil {
        let rawBytes = entry.type.rawBytes
        moved[old] = try entry.chunks.enumerated().map { (number, chunk) throws(FormatError) in
          let alignment = Entry.writingAlignment(
            isRaw: entry.isRawExtent, number: number, rawBytes: rawBytes)
          try writer.pad(to: alignment)
          defer { writer.end += UInt64(chunk.storedLength) }
          work.append((index, chunk, writer.end))
          return writer.end
        }
      }
      for (number, place) in (moved[old] ?? []).enumerated() {
        copy.entries[index].chunks[number].offset = place
      }
    }
    try write(work, of: manifest)
    let entry = try writer.finishBank(
      bank.name, id: bank.id, card: card, manifest: copy, isExternal: bank.isExternal)
    manifests[bank.manifest] = entry.manifest
  }

  private func write(
    _ work: [(entry: Int, from: Chunk, to: UInt64)], of manifest: Manifest
  ) throws(FormatError) {
    let (reader, file, progress) = (bundle.chunkReader, writer.file, writer.options.progress)
    try OrderedJobs<FormatError>.run(count: work.count, on: writer.options.pool) {
      (turn) throws(FormatError) in
      let (entry, chunk, place) = work[turn.index]
      let coder = try reader.coders.borrow(chunkBytes: chunk.rawLength)
      defer { reader.coders.giveBack(coder) }
      let stored = unsafe coder.output.prefix(chunk.storedLength)
      let bytes = UnsafeRawBufferPointer(stored)
      try io { () throws(FileError) in try unsafe reader.file.read(into: stored, at: chunk.offset) }
      guard unsafe Checksum.hash64(bytes) == chunk.storedHash else {
        throw FormatError(.chunkDamaged, entry: manifest.entries[entry].name, offset: chunk.offset)
      }
      try io { () throws(FileError) in try unsafe file.write(bytes, at: place) }
      progress(UInt64(chunk.rawLength))
    }
  }
}
