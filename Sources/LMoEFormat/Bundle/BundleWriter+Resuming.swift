import LMoECore

extension BundleWriter {
  /// Makes the temporary file of a path, which has the same name each time, and locks it: a file of that name
  /// that nobody has locked is what a killed process left.
  static func resumed(
    _ target: String, in system: any FileSystem
  ) throws(FormatError) -> (path: String, file: any File) {
    let temporary = fixedTemporaryPath(for: target)
    if let left = try? system.open(temporary, .update) {
      try requireLock(left, of: target)
      try io { () throws(FileError) in
        if try system.identity(temporary) == left.identity() { try system.remove(temporary) }
      }
    }
    let file = try io { () throws(FileError) in try system.open(temporary, .createNew) }
    // Fails where another process opened it just before, and takes it for a leftover.
    try requireLock(file, of: target)
    if system.kind(target) == .file { system.copyPermissions(from: target, to: temporary) }
    return (temporary, file)
  }

  private static func requireLock(_ file: any File, of target: String) throws(FormatError) {
    // Where there are no locks, two runs on one file are the user's to avoid.
    if try io({ () throws(FileError) in try file.lockForWriting() }) == .heldByAnother {
      throw FormatError(.locked, path: target)
    }
  }

  /// A path in the directory of `target` that follows from its name, and is short whatever that is.
  static func fixedTemporaryPath(for target: String) -> String {
    let file = target.utf8.lastIndex(of: UInt8(ascii: "/")).map { target.utf8[$0...].dropFirst() }
    let hash = Checksum.hash64(Array(file ?? target.utf8[...]))
    let name = ".\(String(hash, radix: 36)).partial"
    return file == nil ? name : "\(PosixFileSystem.directory(of: target))/\(name)"
  }
}
