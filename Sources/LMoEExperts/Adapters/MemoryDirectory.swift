import LMoECore

/// A directory that is in memory: an adapter of another format, made over into PEFT's, to be read as if it were
/// on the disk.
final class MemoryDirectory: FileSystem {
  private let path: String
  private let files: [(name: String, bytes: [UInt8])]

  /// A directory called `path` with `files`, sorted by name.
  init(_ path: String, _ files: [(name: String, bytes: [UInt8])]) {
    self.path = path
    self.files = files.sorted { ByteKey($0.name) < ByteKey($1.name) }
  }

  private func bytes(_ path: String) -> [UInt8]? {
    files.first { (self.path + "/" + $0.name).hasSameBytes(as: path) }?.bytes
  }

  private static let readOnly: Int32 = 30

  func open(_ path: String, _ mode: FileMode) throws(FileError) -> any File {
    guard let bytes = bytes(path), mode == .read else {
      throw FileError(.open, path: path, code: mode == .read ? 2 : Self.readOnly)
    }
    return MemoryFile(path: path, bytes: bytes)
  }

  func rename(_ source: String, to target: String) throws(FileError) {
    throw FileError(.rename, path: source, code: Self.readOnly)
  }

  func copyPermissions(from source: String, to target: String) {}

  func remove(_ path: String) throws(FileError) { throw FileError(.remove, path: path, code: Self.readOnly) }

  func syncDirectory(of path: String) throws(FileError) {}

  func identity(_ path: String) throws(FileError) -> FileIdentity {
    guard let index = files.firstIndex(where: { (self.path + "/" + $0.name).hasSameBytes(as: path) }) else {
      throw FileError(.inspect, path: path, code: 2)
    }
    return FileIdentity(device: 0, inode: UInt64(index))
  }

  func kind(_ path: String) -> FileKind? {
    if path.hasSameBytes(as: self.path) { return .directory }
    return bytes(path) == nil ? nil : .file
  }

  func list(_ directory: String) throws(FileError) -> [String] {
    guard directory.hasSameBytes(as: path) else { throw FileError(.list, path: directory, code: 2) }
    return files.map(\.name)
  }

  func makeDirectory(_ path: String) throws(FileError) {
    throw FileError(.makeDirectory, path: path, code: Self.readOnly)
  }

  func removeDirectory(_ path: String) throws(FileError) {
    throw FileError(.remove, path: path, code: Self.readOnly)
  }

  func resolve(_ path: String) -> String { path }
}

/// A file in memory, to be read.
private final class MemoryFile: File {
  let path: String
  private let bytes: [UInt8]

  init(path: String, bytes: [UInt8]) { (self.path, self.bytes) = (path, bytes) }

  func size() throws(FileError) -> UInt64 { UInt64(bytes.count) }
  func modificationTime() throws(FileError) -> Int64 { 0 }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FileError) {
    guard offset <= UInt64(bytes.count), buffer.count <= bytes.count - Int(offset) else {
      throw FileError(.read, path: path, code: 0, offset: offset)
    }
    unsafe buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + buffer.count])
  }

  @unsafe func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(FileError) {
    throw refused(.write)
  }

  func sync(_ scope: SyncScope) throws(FileError) {}
  func truncate(to size: UInt64) throws(FileError) { throw refused(.truncate) }
  func reserve(_ length: UInt64, at offset: UInt64) throws(FileError) {}
  func lockForWriting() throws(FileError) -> LockOutcome { .unsupported }
  func isLockedByAnother() -> Bool { false }
  func unlock() {}
  func map(length: UInt64) throws(FileError) -> MappedRegion { throw refused(.map) }
  func identity() throws(FileError) -> FileIdentity { FileIdentity(device: 0, inode: 0) }

  private func refused(_ operation: FileError.Operation) -> FileError {
    FileError(operation, path: path, code: 30)
  }
}
