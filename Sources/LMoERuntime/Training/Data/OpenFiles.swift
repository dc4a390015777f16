import LMoECore

/// The files that training reads, a few of them open at a time.
///
/// Every read makes sure that the file is the one that was indexed.
final class OpenFiles {
  let system: any FileSystem
  /// The one used last at the end.
  private var opened: [any File] = []

  private static let most = 16

  init(_ system: any FileSystem) { self.system = system }

  /// A file's size and when it was last written to.
  func state(of path: String) throws(FileError) -> TrainingStream.FileState {
    try state(of: try file(path))
  }

  private func state(of file: any File) throws(FileError) -> TrainingStream.FileState {
    TrainingStream.FileState(path: file.path, size: try file.size(), modified: try file.modificationTime())
  }

  /// Bytes of a file.
  ///
  /// - Throws: `FileError`; `RuntimeError` with `invalid-data` where the file is not as it was.
  func read(
    _ path: String, at offset: UInt64, count: Int, expecting state: TrainingStream.FileState
  ) throws -> [UInt8] {
    let file = try file(path)
    guard try self.state(of: file) == state else { throw changed(path) }
    let bytes = try file.bytes(at: offset, count: count)
    // What was read meanwhile would be of neither.
    guard try self.state(of: file) == state else { throw changed(path) }
    return bytes
  }

  /// The error for a file that is not as it was.
  func changed(_ path: String) -> RuntimeError {
    RuntimeError(
      .invalidData, path: path,
      found: "it has changed since training began to read it; bring it back as it was, or begin anew")
  }

  private func file(_ path: String) throws(FileError) -> any File {
    if let place = opened.lastIndex(where: { $0.path.hasSameBytes(as: path) }) {
      let file = opened.remove(at: place)
      opened.append(file)
      return file
    }
    let file = try system.open(path, .read)
    if opened.count >= Self.most { opened.removeFirst() }
    opened.append(file)
    return file
  }
}
