public import LMoECore

/// Reads tensors from wherever they are, on all workers, and hashes them on the way.
public struct SourceReader: Sendable {
  private let entries: [NewEntry]
  private let pool: WorkerPool

  /// Reads `entries`.
  public init(_ entries: [NewEntry], on pool: WorkerPool = .shared) {
    self.entries = entries
    self.pool = pool
  }

  /// Reads each entry once, in windows that run in parallel.
  ///
  /// - Parameters:
  ///   - expected: The content hash that each entry must have; nil to take what comes.
  ///   - sink: Takes the raw bytes of a window: the index of the entry, the offset in it, the bytes. Called
  ///     from any worker, in no order.
  /// - Returns: The content hashes.
  /// - Throws: `content-mismatch` with the entry's name, or what a source or `sink` throws.
  @discardableResult public func read(
    expecting expected: [Bits128]? = nil,
    _ sink: @escaping @Sendable (Int, Int, UnsafeRawBufferPointer) throws(FormatError) -> Void = { _, _, _ in
    }
  ) throws(FormatError) -> [Bits128] {
    let (entries, windows) = (entries, entries.map(Self.window))
    let jobs = ChunkJobs(
      counts: zip(entries, windows).map { entry, window in (entry.type.rawBytes + window - 1) / window })
    for entry in entries { try entry.stored?.requireCopyable(isExternal: false) }
    let empty = Checksum.hash128([])
    for (index, entry) in entries.enumerated() where entry.type.rawBytes == 0 {
      if let wanted = expected?[index], wanted != empty {
        throw FormatError(.contentMismatch, entry: entry.name)
      }
    }
    let hashes = Guarded(entries.map { _ in empty })
    let largest = windows.max() ?? 1
    let buffers = (0..<pool.count).map { _ in RawBuffer(count: largest) }
    let hash = StreamingHash()
    try OrderedJobs<FormatError>.run(count: jobs.count, on: pool) { (turn) throws(FormatError) in
      let (index, number) = jobs[turn.index]
      let (entry, window) = (entries[index], windows[index])
      let offset = number * window
      let count = min(window, entry.type.rawBytes - offset)
      let raw = unsafe buffers[turn.worker].prefix(count)
      do throws(FormatError) {
        try unsafe entry.source.read(into: raw, at: UInt64(offset))
        let bytes = UnsafeRawBufferPointer(raw)
        let isInOrder: Void? = try turn.inTurn { () throws(FormatError) in
          if number == 0 { hash.reset() }
          unsafe hash.update(bytes)
          guard offset + count == entry.type.rawBytes else { return }
          let digest = hash.digest
          if let wanted = expected?[index], wanted != digest { throw FormatError(.contentMismatch) }
          hashes.withValue { $0[index] = digest }
        }
        guard isInOrder != nil else { return }
        try unsafe sink(index, offset, bytes)
      } catch {
        throw error.at(entry: entry.name)
      }
    }
    return hashes.withValue { $0 }
  }

  /// A chunk of a stored entry is decoded once only if it is read whole.
  private static func window(_ entry: NewEntry) -> Int {
    max(1, entry.stored?.entry.chunkRawBytes ?? 1 << 20)
  }
}

extension Manifest {
  /// The manifest of tensors that are elsewhere: names, types and hashes.
  public init(externalTensors tensors: [(name: String, type: TensorType, contentHash: Bits128)]) {
    entries = tensors.map {
      Entry(
        name: $0.name, class: .tensor, type: $0.type, chunkRawBytes: 0, contentHash: $0.contentHash,
        chunks: [])
    }
    .sorted { ByteKey($0.name) < ByteKey($1.name) }
  }
}
