public import LMoECore

extension BundleWriter {
  /// Makes an older generation's banks current again, as a new generation; or settles which of two
  /// generations stands, where a superblock was lost (specification §6.3).
  ///
  /// - Returns: The generation that is current afterwards.
  /// - Throws: `no-such-generation`, or what opening and committing throw.
  @discardableResult public static func restore(
    _ path: String, generation: UInt64, options: Options = Options(),
    in system: any FileSystem = PosixFileSystem()
  ) throws(FormatError) -> UInt64 {
    let writer = try BundleWriter(appendingTo: path, options: options, settling: true, in: system)
    guard let base = writer.base else { throw FormatError(.writerClosed, path: path) }
    if base.successor == generation {
      let recovery = Recovery(writer.file, header: base.header, size: base.fileBytes)
      guard let found = try recovery.successor(of: base.superblock) else {
        throw FormatError(.noSuchGeneration, path: path, found: "\(generation)")
      }
      // It was flushed before its superblock was written; once more does no harm.
      try writer.step { () throws(FormatError) in
        let end = aligned(found.extent.end, to: Limits.segmentAlignment) ?? found.extent.end
        if end > base.fileBytes { try io { () throws(FileError) in try writer.file.truncate(to: end) } }
        try io { () throws(FileError) in try writer.file.sync(.everything) }
      }
      try writer.publish(found.superblock)
      return generation
    }
    let history = try base.history()
    guard let wanted = history.first(where: { $0.root.generation == generation }) else {
      let known = history.map { "\($0.root.generation)" }.reversed().joined(separator: ", ")
      writer.abort()
      throw FormatError(.noSuchGeneration, path: path, expected: known, found: "\(generation)")
    }
    try writer.step { () throws(FormatError) in
      try io { () throws(FileError) in try writer.file.truncate(to: writer.start) }
    }
    writer.banks = wanted.root.banks
    try writer.commit(note: "restore generation \(generation)")
    return writer.generation
  }
}
