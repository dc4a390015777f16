import LMoECore

/// Finds tensors whose bytes are already in the file, or earlier in the same bank.
///
/// A candidate needs the same dtype, geometry and size; then the same hash; then the same bytes: XXH3 is not
/// cryptographic, so equality is always established by comparing.
struct Deduplication {
  private struct Key: Hashable {
    let dtype: DType
    let geometry: BlockGeometry?
    let rawBytes: Int

    init(_ type: TensorType) {
      dtype = type.dtype
      geometry = type.geometry
      rawBytes = type.rawBytes
    }
  }

  private struct Fresh {
    let entry: NewEntry
    let index: Int
    let fingerprint: UInt64
  }

  private var stored: [Key: [Entry]] = [:]
  private var fresh: [Key: [Fresh]] = [:]
  private let reader: ChunkReader
  private let codec: CodecPolicy

  /// Nothing is stored yet.
  init(_ reader: ChunkReader, codec: CodecPolicy) {
    self.reader = reader
    self.codec = codec
  }

  /// The tensors of `manifest` are in the file from now on.
  mutating func add(_ manifest: Manifest) {
    for entry in manifest.tensors where !entry.chunks.isEmpty {
      stored[Key(entry.type), default: []].append(entry)
    }
    fresh.removeAll()
  }

  /// Where the bytes of `entry` are already, or nil; then it is remembered as the fresh entry `index`.
  mutating func origin(of entry: NewEntry, orFresh index: Int) throws(FormatError) -> WritePlan.Origin? {
    let key = Key(entry.type)
    if let candidates = stored[key] {
      let hash = try Self.hash(entry)
      for candidate in candidates
      where candidate.contentHash == hash && (codec == .planes || candidate.isRawExtent) {
        // A candidate that is damaged is not shared with; that is no reason to fail.
        if (try? Self.areEqual(entry, EntrySource(reader: reader, entry: candidate))) == true {
          return .shared(candidate)
        }
      }
    }
    let fingerprint = try Self.fingerprint(entry)
    for other in fresh[key] ?? [] where other.fingerprint == fingerprint {
      if try Self.areEqual(entry, other.entry.source) { return .fresh(other.index) }
    }
    fresh[key, default: []].append(Fresh(entry: entry, index: index, fingerprint: fingerprint))
    return nil
  }

  private static let window = 1 << 20

  /// A hash of the beginning, the middle and the end: cheap to take of a model of any size.
  private static func fingerprint(_ entry: NewEntry) throws(FormatError) -> UInt64 {
    let count = entry.type.rawBytes
    let length = min(count, 4096)
    let buffer = RawBuffer(count: 3 * length)
    for (index, offset) in [0, (count - length) / 2, count - length].enumerated() {
      let part = unsafe UnsafeMutableRawBufferPointer(
        rebasing: buffer.bytes[index * length..<(index + 1) * length])
      try unsafe entry.source.read(into: part, at: UInt64(offset))
    }
    return unsafe Checksum.hash64(UnsafeRawBufferPointer(buffer.prefix(3 * length)))
  }

  private static func hash(_ entry: NewEntry) throws(FormatError) -> Bits128 {
    let hash = StreamingHash128()
    try unsafe forEachWindow(entry.type.rawBytes) { (offset, buffer) throws(FormatError) in
      try unsafe entry.source.read(into: buffer, at: offset)
      unsafe hash.update(UnsafeRawBufferPointer(buffer))
      return true
    }
    return hash.digest
  }

  private static func areEqual(
    _ entry: NewEntry, _ other: any ByteSource
  ) throws(FormatError) -> Bool {
    let second = RawBuffer(count: window)
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
  private static func forEachWindow(
    _ count: Int, _ body: (UInt64, UnsafeMutableRawBufferPointer) throws(FormatError) -> Bool
  ) throws(FormatError) {
    let buffer = RawBuffer(count: min(count, window))
    var offset = 0
    while offset < count {
      let length = min(window, count - offset)
      guard try unsafe body(UInt64(offset), buffer.prefix(length)) else { return }
      offset += length
    }
  }
}
