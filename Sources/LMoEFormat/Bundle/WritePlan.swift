import LMoECore

/// Which entries of a write need their bytes written, and which share those of another.
struct WritePlan: Sendable {
  /// An entry whose bytes are to be written.
  struct Fresh: Sendable {
    let entry: NewEntry
    let chunkRawBytes: Int
    let chunkCount: Int
  }

  /// Where an entry's bytes come from.
  enum Origin: Sendable {
    case fresh(Int)
    case shared(Entry)
  }

  let entries: [NewEntry]
  private(set) var fresh: [Fresh] = []
  private(set) var origins: [Origin] = []

  init(_ entries: [NewEntry], isExternal: Bool, writer: BundleWriter) throws(FormatError) {
    guard entries.count <= Int(Limits.entries) else {
      throw FormatError(
        .tooLarge, field: "tensors and documents of a bank", expected: "at most \(Limits.entries)",
        found: "\(entries.count)")
    }
    self.entries = entries
    for entry in entries {
      if entry.class == .tensor, entry.type.rawBytes > 0, !isExternal {
        do throws(FormatError) {
          if let origin = try writer.origin(of: entry, orFresh: fresh.count) {
            origins.append(origin)
            continue
          }
        } catch { throw error.at(entry: entry.name) }
      }
      if let stored = entry.stored {
        try stored.requireCopyable(isExternal: isExternal)
        let chunks = isExternal && entry.class == .tensor ? [] : stored.entry.chunks
        origins.append(.fresh(fresh.count))
        fresh.append(
          Fresh(entry: entry, chunkRawBytes: stored.entry.chunkRawBytes, chunkCount: chunks.count))
        continue
      }
      let unit = entry.type.unitBytes
      let wanted = min(writer.options.chunkBytes, Int(Limits.chunkRawBytes))
      let whole = max(1, wanted / unit) * unit
      let chunkRawBytes = min(whole, entry.type.rawBytes)
      let count = chunkRawBytes == 0 ? 0 : (entry.type.rawBytes + chunkRawBytes - 1) / chunkRawBytes
      guard count <= Int(Limits.chunksPerEntry) else {
        throw FormatError(.tooLarge, entry: entry.name, found: "\(entry.type.rawBytes) bytes")
      }
      origins.append(.fresh(fresh.count))
      fresh.append(Fresh(entry: entry, chunkRawBytes: chunkRawBytes, chunkCount: count))
    }
  }

  /// The manifest of the written entries.
  func manifest(with results: EncodedEntries) -> Manifest {
    Manifest(
      entries: zip(entries, origins).map { entry, origin in
        switch origin {
        case .shared(let other):
          Entry(
            name: entry.name, class: entry.class, type: entry.type, chunkRawBytes: other.chunkRawBytes,
            contentHash: other.contentHash, chunks: other.chunks)
        case .fresh(let index):
          Entry(
            name: entry.name, class: entry.class, type: entry.type,
            chunkRawBytes: results.chunks[index].isEmpty ? 0 : fresh[index].chunkRawBytes,
            contentHash: results.hashes[index], chunks: results.chunks[index])
        }
      })
  }
}
