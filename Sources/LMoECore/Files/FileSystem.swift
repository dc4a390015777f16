/// How a file is opened.
public enum FileMode: Hashable, Sendable {
  /// For reading.
  case read
  /// For reading and writing; it must exist.
  case update
  /// For reading and writing; it must not exist.
  case createNew
}

/// What distinguishes a file from all others while it exists.
public struct FileIdentity: Hashable, Sendable {
  /// The device.
  public let device: UInt64
  /// The inode.
  public let inode: UInt64

  /// Makes an identity.
  public init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }
}

/// What a path leads to.
public enum FileKind: Hashable, Sendable { case file, directory, other }

/// What a flush must make stable.
public enum SyncScope: Hashable, Sendable { case everything, dataOnly }

/// How taking the writer lock ended.
public enum LockOutcome: Hashable, Sendable {
  case taken
  case heldByAnother
  /// The file system has no such locks.
  case unsupported
}

/// All that the project asks of a file system.
///
/// Nothing else touches the kernel's files.
///
/// There are two: `PosixFileSystem`, and `SimulatedFileSystem`, which fails on demand and can lose what was
/// not flushed.
public protocol FileSystem: Sendable {
  /// Opens `path`.
  func open(_ path: String, _ mode: FileMode) throws(FileError) -> any File
  /// Gives the file at `source` the path `target`, replacing what is there.
  func rename(_ source: String, to target: String) throws(FileError)
  /// Gives the file at `target` the permissions of the one at `source`, as far as the system lets.
  func copyPermissions(from source: String, to target: String)
  /// Removes a file.
  func remove(_ path: String) throws(FileError)
  /// Makes the entries of the directory that holds `path` stable.
  func syncDirectory(of path: String) throws(FileError)
  /// The identity of what `path` leads to, links followed.
  func identity(_ path: String) throws(FileError) -> FileIdentity
  /// What `path` leads to, links followed; nil if nothing.
  func kind(_ path: String) -> FileKind?
  /// The names in a directory, sorted by bytes.
  func list(_ directory: String) throws(FileError) -> [String]
  /// Makes a directory; its parent must exist.
  func makeDirectory(_ path: String) throws(FileError)
  /// Removes an empty directory.
  func removeDirectory(_ path: String) throws(FileError)
  /// `path` with all links followed.
  func resolve(_ path: String) -> String
}

/// An open file.
///
/// Reads and writes name their offset, so threads can share it.
public protocol File: AnyObject, Sendable {
  /// The path it was opened under.
  var path: String { get }
  /// Its size in bytes.
  func size() throws(FileError) -> UInt64
  /// When it was last written to, in nanoseconds since the beginning of 1970.
  func modificationTime() throws(FileError) -> Int64
  /// Fills `buffer` from `offset`; a `FileError` with code 0 if the file ends before.
  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FileError)
  /// Writes all of `buffer` at `offset`.
  @unsafe func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(FileError)
  /// Flushes to stable storage.
  func sync(_ scope: SyncScope) throws(FileError)
  /// Sets the size.
  func truncate(to size: UInt64) throws(FileError)
  /// Makes sure that there is room for `length` bytes at `offset`, if the file system can tell.
  func reserve(_ length: UInt64, at offset: UInt64) throws(FileError)
  /// Takes the writer lock, without waiting.
  func lockForWriting() throws(FileError) -> LockOutcome
  /// Whether another open file holds the writer lock; false where that cannot be told.
  func isLockedByAnother() -> Bool
  /// Gives the writer lock up.
  func unlock()
  /// Maps the first `length` bytes for reading.
  func map(length: UInt64) throws(FileError) -> MappedRegion
  /// The identity of the open file.
  func identity() throws(FileError) -> FileIdentity
}

extension File {
  /// `count` bytes from `offset`.
  public func bytes(at offset: UInt64, count: Int) throws(FileError) -> [UInt8] {
    var failure: FileError?
    let result = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      let bytes = UnsafeMutableRawBufferPointer(buffer)
      do throws(FileError) {
        try unsafe read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]), at: offset)
        initialized = count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return result
  }

  /// Writes all of `bytes` at `offset`.
  public func write(_ bytes: [UInt8], at offset: UInt64) throws(FileError) {
    try unsafe bytes.withUnsafeBufferPointer { (buffer) throws(FileError) in
      try unsafe write(UnsafeRawBufferPointer(buffer), at: offset)
    }
  }
}
