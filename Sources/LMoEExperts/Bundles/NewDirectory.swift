import LMoECore
import LMoEFormat

/// A directory that appears under its name when it is whole.
enum NewDirectory {
  /// Makes a directory under a temporary name, has `body` fill it, and gives it its name.
  ///
  /// - Throws: `ExpertError` with `output-exists`, or what `body` throws; nothing is left then.
  static func making(
    _ path: String, in system: any FileSystem, _ body: (inout MadeFiles, String) throws -> [String]
  ) throws -> [String] {
    if system.kind(path) != nil { throw ExpertError(.outputExists, path: path) }
    var trimmed = path
    while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed.removeLast() }
    let temporary = try temporaryPath(for: trimmed)
    var made = MadeFiles(system)
    TemporaryFiles.began(temporary)
    defer { TemporaryFiles.ended(temporary) }
    do {
      try made.directory(temporary)
      let written = try body(&made, temporary)
      try system.rename(temporary, to: trimmed)
      try system.syncDirectory(of: trimmed)
      return written
    } catch {
      made.removeAll()
      throw error
    }
  }
}
