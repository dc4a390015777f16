import LMoECore

extension Bundle {
  /// One generation of a bundle's history.
  public struct Generation: Hashable, Sendable {
    /// Where its root lies.
    public let extent: Extent
    /// Its root.
    public let root: Root
  }

  /// This generation and those before it, newest first, as far back as the chain is whole.
  public func history() throws(FormatError) -> [Generation] {
    var result = [Generation(extent: superblock.root, root: root)]
    while let parent = result[result.count - 1].root.parent {
      guard parent.extent.end <= fileBytes, let count = Int(exactly: parent.extent.length) else { break }
      let bytes = try io { () throws(FileError) in
        try file.bytes(at: parent.extent.offset, count: count)
      }
      guard Fields(bytes).bits128(count - Root.trailerBytes) == parent.extent.hash,
        let root = try? Root(parsing: bytes, at: parent.extent.offset, header: header),
        root.generation == parent.generation
      else { break }
      result.append(Generation(extent: parent.extent, root: root))
    }
    return result
  }

  /// Bytes that a compacted copy would have, extents that banks share counted once.
  ///
  /// - Complexity: reads every manifest.
  public func liveBytes() throws(FormatError) -> UInt64 {
    var extents: [UInt64: UInt64] = [:]
    for bank in banks {
      extents[bank.manifest.offset] = bank.manifest.length
      if let card = bank.card { extents[card.offset] = card.length }
      for entry in try manifest(of: bank).entries {
        for chunk in entry.chunks { extents[chunk.offset] = UInt64(chunk.storedLength) }
      }
    }
    return Limits.fixedArea + superblock.root.length + extents.values.reduce(0, +)
  }
}
