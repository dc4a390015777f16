#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// Files in memory that fail on demand and remember what was not flushed: a disk for tests.
///
/// Every write waits in order until its file is flushed. `snapshot()` tells what the disk would hold if the
/// power failed now, and `Snapshot.crash(_:)` makes one such outcome.
public final class SimulatedFileSystem: FileSystem {
  /// What may fail.
  public enum Operation: String, Hashable, Sendable, CaseIterable {
    case open, read, write, truncate, sync, reserve, rename, syncDirectory, map
  }

  /// A write or a change of size that has not been flushed.
  public enum Pending: Hashable, Sendable {
    case write(offset: Int, bytes: [UInt8])
    case truncate(size: Int)
  }

  struct Node {
    var durable: [UInt8] = []
    var current: [UInt8] = []
    var pending: [Pending] = []
    var isLocked = false
    /// A clock that only writing moves.
    var modified: Int64 = 0
  }

  struct State {
    var nodes: [Int: Node] = [:]
    var names: [ByteKey: Int] = [:]
    var durableNames: [ByteKey: Int] = [:]
    var next = 1
    var capacity = Int.max
    var supportsLocks = true
    var counts: [Operation: Int] = [:]
    var failures: [Operation: (at: Int, code: Int32)] = [:]
    var bytesWritten = 0
    var onSync: (@Sendable (Snapshot) -> Void)?
  }

  let state: Guarded<State>

  /// Starts with files that are on stable storage.
  public init(files: [String: [UInt8]] = [:]) {
    var state = State()
    for (path, bytes) in files {
      state.nodes[state.next] = Node(durable: bytes, current: bytes)
      state.names[ByteKey(path)] = state.next
      state.next += 1
    }
    state.durableNames = state.names
    self.state = Guarded(state)
  }

  /// The disk holds at most `bytes`; beyond that writes fail with `ENOSPC`, the last one half done.
  public func setCapacity(_ bytes: Int) { state.withValue { $0.capacity = bytes } }

  /// Whether locks work.
  public func setSupportsLocks(_ value: Bool) { state.withValue { $0.supportsLocks = value } }

  /// The `number`th `operation` from now on (counted from 0) fails with the system error `code`.
  public func fail(_ operation: Operation, at number: Int, code: Int32) {
    state.withValue { state in
      state.counts[operation] = 0
      state.failures[operation] = (number, code)
    }
  }

  /// Called before each flush takes effect, with what would be left if the power failed instead.
  public func onSync(_ body: (@Sendable (Snapshot) -> Void)?) { state.withValue { $0.onSync = body } }

  /// Bytes written since the beginning.
  public var bytesWritten: Int { state.withValue { $0.bytesWritten } }

  /// A file's bytes as a reader sees them now; nil if there is none.
  public func contents(_ path: String) -> [UInt8]? {
    state.withValue { state in state.names[ByteKey(path)].flatMap { state.nodes[$0]?.current } }
  }

  /// All paths, sorted.
  public var paths: [String] { state.withValue { $0.names.keys.sorted().map(\.text) } }

  /// What is durable now, and what is pending.
  public func snapshot() -> Snapshot { state.withValue { Snapshot($0) } }

  /// Counts an operation and fails if it is its turn.
  static func count(
    _ operation: Operation, _ error: FileError.Operation, _ path: String, in state: inout State
  ) throws(FileError) {
    let number = state.counts[operation, default: 0]
    state.counts[operation] = number + 1
    if let failure = state.failures[operation], failure.at == number {
      throw FileError(error, path: path, code: failure.code)
    }
  }

  /// Opens `path`.
  public func open(_ path: String, _ mode: FileMode) throws(FileError) -> any File {
    try state.withValue { (state) throws(FileError) in
      try Self.count(.open, .open, path, in: &state)
      if mode == .createNew {
        guard state.names[ByteKey(path)] == nil else { throw FileError(.create, path: path, code: EEXIST) }
        state.nodes[state.next] = Node()
        state.names[ByteKey(path)] = state.next
        state.next += 1
      }
      guard let node = state.names[ByteKey(path)] else { throw FileError(.open, path: path, code: ENOENT) }
      return SimulatedFile(path: path, node: node, in: self)
    }
  }

  /// Gives the file at `source` the path `target`.
  public func rename(_ source: String, to target: String) throws(FileError) {
    try state.withValue { (state) throws(FileError) in
      try Self.count(.rename, .rename, target, in: &state)
      guard let node = state.names.removeValue(forKey: ByteKey(source)) else {
        throw FileError(.rename, path: source, code: ENOENT)
      }
      state.names[ByteKey(target)] = node
    }
  }

  /// There are no permissions.
  public func copyPermissions(from source: String, to target: String) {}

  /// Removes a file.
  public func remove(_ path: String) throws(FileError) {
    try state.withValue { (state) throws(FileError) in
      guard state.names.removeValue(forKey: ByteKey(path)) != nil else {
        throw FileError(.remove, path: path, code: ENOENT)
      }
    }
  }

  /// Makes all names stable.
  public func syncDirectory(of path: String) throws(FileError) {
    let observer = state.withValue { state in state.onSync.map { ($0, Snapshot(state)) } }
    observer.map { $0.0($0.1) }
    try state.withValue { (state) throws(FileError) in
      try Self.count(.syncDirectory, .sync, path, in: &state)
      state.durableNames = state.names
    }
  }

  /// The identity of a file.
  public func identity(_ path: String) throws(FileError) -> FileIdentity {
    guard let node = state.withValue({ $0.names[ByteKey(path)] }) else {
      throw FileError(.inspect, path: path, code: ENOENT)
    }
    return FileIdentity(device: 1, inode: UInt64(node))
  }

  /// What a path leads to.
  public func kind(_ path: String) -> FileKind? {
    state.withValue { $0.names[ByteKey(path)] } == nil ? nil : .file
  }

  /// There are no directories to list.
  public func list(_ directory: String) throws(FileError) -> [String] {
    throw FileError(.list, path: directory, code: ENOTDIR)
  }

  /// Directories need not be made.
  public func makeDirectory(_ path: String) throws(FileError) {}

  /// Directories need not be removed.
  public func removeDirectory(_ path: String) throws(FileError) {}

  /// There are no links.
  public func resolve(_ path: String) -> String { path }
}
