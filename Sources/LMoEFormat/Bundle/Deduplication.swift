import LMoECore

/// Finds tensors whose bytes are already in the file, or earlier in the same bank.
///
/// A candidate needs the same dtype, geometry and size; then the same hash; then the same bytes: XXH3 is not
/// cryptographic, so equality is always established by comparing.
struct Deduplication {
  /// Equal bytes of another dtype are other content: their chunks need not suit.
  private struct Content: Hashable {
    let hash: Bits128
    let dtype: UInt8
  }

  /// What equal tensors have in common and others hardly ever: found by one look-up, however many there are.
  private struct Fingerprint: Hashable {
    let type: UInt8
    let geometry: BlockGeometry?
    let size: Int
    let hash: UInt64
  }

  /// Raw sizes of all stored tensors: only a new tensor of such a size is worth hashing beforehand.
  private var sizes: Set<Int> = []
  /// Which bank of the published bundle has a tensor with that content.
  private var published: [Content: Int] = [:]
  /// Tensors written since.
  private var added: [Content: Entry] = [:]
  private var fresh: [Fingerprint: (entry: NewEntry, index: Int)] = [:]
  /// Tensors of the same bank that are copied as they are stored.
  private var copied: [Content: (entry: NewEntry, index: Int)] = [:]
  private let bundle: Bundle?
  private let reader: ChunkReader
  private let codec: CodecPolicy
  private let windows = (RawBuffer(count: window), RawBuffer(count: window))

  /// Looks among the banks of `bundle`, if there is one; `reader` reads the file that is written.
  ///
  /// Manifests are not parsed for this, only scanned: adding an expert beside hundreds must not cost hundreds.
  init(_ bundle: Bundle?, _ reader: ChunkReader, codec: CodecPolicy) {
    self.bundle = bundle
    self.reader = reader
    self.codec = codec
    for (index, bank) in (bundle?.banks ?? []).enumerated() where !bank.isExternal {
      // Damage in another bank must not keep a new one out; it is just not shared with.
      guard let bytes = try? bundle?.read(bank.manifest, damaged: .manifestDamaged) else { continue }
      Manifest.scanTensors(bytes) { rawBytes, dtype, hash in
        sizes.insert(rawBytes)
        published[Content(hash: hash, dtype: dtype)] = index
      }
    }
  }

  /// The tensors of `manifest` are in the file from now on.
  mutating func add(_ manifest: Manifest) {
    for entry in manifest.tensors where !entry.chunks.isEmpty {
      sizes.insert(entry.type.rawBytes)
      added[Content(hash: entry.contentHash, dtype: entry.type.dtype.rawValue)] = entry
    }
    fresh.removeAll()
    copied.removeAll()
  }

  private func stored(_ content: Content) -> Entry? {
    if let entry = added[content] { return entry }
    guard let index = published[content], let bundle,
      let manifest = try? bundle.manifest(of: bundle.banks[index])
    else { return nil }
    return manifest.tensors.first {
      $0.contentHash == content.hash && $0.type.dtype.rawValue == content.dtype
    }
  }

  /// Where the bytes of `entry` are already, or nil; then it is remembered as the fresh entry `index`.
  mutating func origin(of entry: NewEntry, orFresh index: Int) throws(FormatError) -> WritePlan.Origin? {
    if let stored = entry.stored { return try origin(of: entry, stored, orFresh: index) }
    let size = entry.type.rawBytes
    if sizes.contains(size),
      let candidate = stored(Content(hash: try hash(entry), dtype: entry.type.dtype.rawValue)),
      candidate.type.geometry == entry.type.geometry,
      candidate.type.rawBytes == size, codec == .planes || candidate.isRawExtent,
      (try? areEqual(entry, EntrySource(reader: reader, entry: candidate))) == true
    {
      return .shared(candidate)
    }
    let print = Fingerprint(
      type: entry.type.dtype.rawValue, geometry: entry.type.geometry, size: size,
      hash: try fingerprint(entry))
    if let other = fresh[print] {
      if try areEqual(entry, other.entry.source) { return .fresh(other.index) }
    } else {
      fresh[print] = (entry, index)
    }
    return nil
  }

  /// The same for an entry that is copied as it is stored: its hash is known, and a raw extent stays one.
  private mutating func origin(
    of entry: NewEntry, _ stored: StoredEntry, orFresh index: Int
  ) throws(FormatError) -> WritePlan.Origin? {
    let content = Content(hash: stored.entry.contentHash, dtype: entry.type.dtype.rawValue)
    if let candidate = self.stored(content), candidate.type.geometry == entry.type.geometry,
      candidate.type.rawBytes == entry.type.rawBytes, candidate.isRawExtent || !stored.entry.isRawExtent,
      (try? areEqual(entry, EntrySource(reader: reader, entry: candidate))) == true
    {
      return .shared(candidate)
    }
    guard let other = copied[content] else {
      copied[content] = (entry, index)
      return nil
    }
    guard let twin = other.entry.stored, other.entry.type.geometry == entry.type.geometry,
      other.entry.type.rawBytes == entry.type.rawBytes, twin.entry.isRawExtent == stored.entry.isRawExtent
    else { return nil }
    if twin.hasSameChunks(as: stored) { return .fresh(other.index) }
    return (try? areEqual(entry, other.entry.source)) == true ? .fresh(other.index) : nil
  }

  private static let window = 1 << 20

  /// A hash of the beginning, the middle and the end: cheap to take of a model of any size.
  private func fingerprint(_ entry: NewEntry) throws(FormatError) -> UInt64 {
    let count = entry.type.rawBytes
    let length = min(count, 4096)
    let buffer = windows.0
    for (index, offset) in [0, (count - length) / 2, count - length].enumerated() {
      let part = unsafe UnsafeMutableRawBufferPointer(
        rebasing: buffer.bytes[index * length..<(index + 1) * length])
      try unsafe entry.source.read(into: part, at: UInt64(offset))
    }
    return unsafe Checksum.hash64(UnsafeRawBufferPointer(buffer.prefix(3 * length)))
  }

  private func hash(_ entry: NewEntry) throws(FormatError) -> Bits128 {
    let hash = StreamingHash()
    try unsafe forEachWindow(entry.type.rawBytes) { (offset, buffer) throws(FormatError) in
      try unsafe entry.source.read(into: buffer, at: offset)
      unsafe hash.update(UnsafeRawBufferPointer(buffer))
      return true
    }
    return hash.digest
  }

  private func areEqual(
    _ entry: NewEntry, _ other: any ByteSource
  ) throws(FormatError) -> Bool {
    let second = windows.1
    var isEqual = true
    try unsafe forEachWindow(entry.type.rawBytes) { (offset, buffer) throws(FormatError) in
      let theirs = unsafe second.prefix(buffer.count)
      try unsafe entry.source.read(into: buffer, at: offset)
      try unsafe other.read(into: theirs, at: offset)
      isEqual = unsafe UnsafeRawBufferPointer(buffer).elementsEqualBytes(of: UnsafeRawBufferPointer(theirs))
      return isEqual
    }
    return isEqual
  }

  /// Runs `body` on windows of 0 ..< `count` until it returns false.
  private func forEachWindow(
    _ count: Int, _ body: (UInt64, UnsafeMutableRawBufferPointer) throws(FormatError) -> Bool
  ) throws(FormatError) {
    let buffer = windows.0
    var offset = 0
    while offset < count {
      let length = min(Self.window, count - offset)
      guard try unsafe body(UInt64(offset), buffer.prefix(length)) else { return }
      offset += length
    }
  }
}
