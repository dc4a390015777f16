import LMoECore
import LMoEFormat

/// The files and directories an export has made so far, to take them back.
struct MadeFiles {
  private let system: any FileSystem
  private var files: [String] = []
  private var directories: [String] = []

  init(_ system: any FileSystem) { self.system = system }

  mutating func directory(_ path: String) throws {
    try system.makeDirectory(path)
    directories.append(path)
  }

  /// The path for a file, its directories made.
  ///
  /// A name from a bundle is not trusted.
  mutating func place(_ relative: String, in root: String, of bundle: String) throws -> String {
    let parts = relative.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    guard !relative.isEmpty, !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else {
      throw ExpertError(.notExportable, path: bundle, name: relative, found: "it is not a relative path")
    }
    var path = root
    for part in parts.dropLast() {
      path += "/" + part
      if system.kind(path) == nil { try directory(path) }
    }
    path = root + "/" + relative
    guard system.kind(path) == nil, !files.contains(where: { $0.hasSameBytes(as: path) }) else {
      throw ExpertError(.notExportable, path: bundle, name: relative, found: "two files of that name")
    }
    files.append(path)
    return path
  }

  func removeAll() {
    for file in files { try? system.remove(file) }
    for directory in directories.reversed() { try? system.removeDirectory(directory) }
  }
}
