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
    if let successor = base.successor, generation != base.generation {
      guard generation == successor else {
        throw FormatError(
          .noSuchGeneration, path: path,
          expected: "\(base.generation) or \(successor), and must choose first",
          found: "\(generation)")
      }
      return try writer.publishSuccessor(of: base)
    }
    let history = try base.history()
    guard let wanted = history.first(where: { $0.root.generation == generation }) else {
      let known = history.map { "\($0.root.generation)" }.reversed().joined(separator: ", ")
      throw FormatError(.noSuchGeneration, path: path, expected: known, found: "\(generation)")
    }
    try wanted.root.features.requireWritable(path)
    // Now the choice is made.
    writer.ownsTail = true
    try writer.step { () throws(FormatError) in
      try io { () throws(FileError) in try writer.file.truncate(to: writer.start) }
    }
    writer.banks = wanted.root.banks
    try writer.commit(note: "restore generation \(generation)")
    return writer.generation
  }

  /// Publishes a root that was written and whose superblock is lost, if all that it names is there.
  private func publishSuccessor(of base: Bundle) throws(FormatError) -> UInt64 {
    let recovery = Recovery(file, header: base.header, size: base.fileBytes)
    guard let found = try recovery.successor(of: base.superblock) else {
      throw FormatError(.noSuchGeneration, path: path, found: "\(base.generation + 1)")
    }
    try found.root.features.requireWritable(path)
    // The power may have failed before the flush: the root is there, and what it names is not.
    let bundle = try Bundle(file: file, published: found)
    if let damage = try bundle.verify(decoding: false).first { throw damage }
    try step { () throws(FormatError) in
      let end = aligned(found.extent.end, to: Limits.segmentAlignment) ?? found.extent.end
      try io { () throws(FileError) in
        if end > base.fileBytes { try file.truncate(to: end) }
        try file.sync(.everything)
      }
    }
    try publish(found.superblock)
    return found.generation
  }
}
