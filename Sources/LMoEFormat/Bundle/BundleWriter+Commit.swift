import LMoECore

extension BundleWriter {
  /// Publishes the change: after it returns, every new reader sees it, and a power cut does not undo it.
  ///
  /// - Parameter note: What the change was, for `history`.
  /// - Returns: The number of bytes that the change added to the file.
  /// - Throws: `commit-uncertain` if the very last step failed, after which the old or the new generation
  ///   stands; any other error: the bundle is as it was.
  @discardableResult public func commit(note: String) throws(FormatError) -> UInt64 {
    let superblock = try step { () throws(FormatError) in
      let superblock = try writeRoot(note: note)
      try io { () throws(FileError) in try file.sync(.everything) }
      return superblock
    }
    try publish(superblock)
    return end - start
  }

  /// Writes the root of the current banks, and takes it as the parent of the next.
  func writeRoot(note: String) throws(FormatError) -> Superblock {
    guard banks.count <= Int(Limits.banks) else {
      throw FormatError(
        .tooLarge, field: "banks", expected: "at most \(Limits.banks)", found: "\(banks.count)")
    }
    let commitNanoseconds = options.clock()
    let root = Root(
      fileUUID: header.fileUUID, generation: generation, features: base?.root.features ?? Features(),
      parent: previous, commitNanoseconds: commitNanoseconds, note: note, banks: banks)
    return try append(root)
  }

  /// Appends a root as it is.
  func append(_ root: Root) throws(FormatError) -> Superblock {
    let (bytes, hash) = root.encoded()
    guard bytes.count <= Int(Limits.rootBytes) else {
      throw FormatError(
        .tooLarge, field: "root index", expected: "at most \(Limits.rootBytes) bytes", found: "\(bytes.count)"
      )
    }
    try pad(to: Limits.segmentAlignment)
    // Nothing is published that this reader would refuse.
    _ = try Root(parsing: bytes, at: end, header: header)
    let extent = Extent(offset: end, length: UInt64(bytes.count), hash: hash)
    try io { () throws(FileError) in try file.write(bytes, at: end) }
    end += UInt64(bytes.count)
    try pad(to: Limits.segmentAlignment)
    previous = Root.Parent(extent: extent, generation: root.generation)
    return Superblock(
      fileUUID: header.fileUUID, generation: root.generation, features: root.features, root: extent,
      commitNanoseconds: root.commitNanoseconds, liveBytes: root.liveBytes(rootBytes: extent.length),
      writer: options.writerName)
  }

  /// Writes the superblock of a root that is already on stable storage.
  func publish(_ superblock: Superblock) throws(FormatError) {
    try requireOpen()
    if let temporary {
      try step { () throws(FormatError) in
        try io { () throws(FileError) in
          try file.write(superblock.slotBytes(), at: superblock.slot)
          try file.sync(.everything)
          try system.rename(temporary, to: path)
        }
      }
      isOpen = false
      TemporaryFiles.ended(temporary)
      do throws(FileError) { try system.syncDirectory(of: path) } catch {
        throw FormatError(.commitUncertain, path: path, file: error)
      }
      return
    }
    // Published into a file that nobody can find any more, the change would be lost without a word.
    try step { () throws(FormatError) in try requireOwnPath() }
    isOpen = false
    defer { file.unlock() }
    do throws(FileError) {
      try file.write(superblock.slotBytes(), at: superblock.slot)
      try file.sync(.dataOnly)
    } catch {
      // The page cache may hold what the disk does not: nothing is retried (a second fsync would lie).
      throw FormatError(.commitUncertain, path: path, file: error)
    }
  }

  /// Makes sure that the path still leads to the file that is written.
  func requireOwnPath() throws(FormatError) {
    let ours = try io { () throws(FileError) in try file.identity() }
    guard (try? system.identity(path)) == ours else { throw FormatError(.replaced, path: path) }
  }

  /// Fills with zeros up to a multiple of `alignment`.
  func pad(to alignment: UInt64) throws(FormatError) {
    guard let next = aligned(end, to: alignment) else { throw FormatError(.tooLarge, field: "file") }
    if next > end {
      try io { () throws(FileError) in
        try file.write([UInt8](repeating: 0, count: Int(next - end)), at: end)
      }
    }
    end = next
  }

  /// Appends bytes at a multiple of 8 and hashes them.
  func append(_ bytes: [UInt8]) throws(FormatError) -> Extent {
    try pad(to: 8)
    let extent = Extent(offset: end, length: UInt64(bytes.count), hash: Checksum.hash128(bytes))
    try io { () throws(FileError) in try file.write(bytes, at: end) }
    end += UInt64(bytes.count)
    return extent
  }
}
