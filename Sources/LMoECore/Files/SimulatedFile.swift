#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// An open file of a `SimulatedFileSystem`.
final class SimulatedFile: File {
  let path: String
  private let node: Int
  private let system: SimulatedFileSystem
  private let holdsLock = Guarded(false)

  init(path: String, node: Int, in system: SimulatedFileSystem) {
    self.path = path
    self.node = node
    self.system = system
  }

  deinit { unlock() }

  private func with<Result>(
    _ operation: SimulatedFileSystem.Operation?, _ error: FileError.Operation,
    _ body: (inout SimulatedFileSystem.State, inout SimulatedFileSystem.Node) throws(FileError) -> Result
  ) throws(FileError) -> Result {
    try system.state.withValue { (state) throws(FileError) in
      if let operation { try SimulatedFileSystem.count(operation, error, path, in: &state) }
      // Moved out and back in: a copy of the bytes on every write would make tests quadratic.
      guard var node = state.nodes.removeValue(forKey: self.node) else {
        throw FileError(error, path: path, code: EBADF)
      }
      defer { state.nodes[self.node] = node }
      return try body(&state, &node)
    }
  }

  func size() throws(FileError) -> UInt64 {
    try with(nil, .inspect) { (_, node) in UInt64(node.current.count) }
  }

  func modificationTime() throws(FileError) -> Int64 {
    try with(nil, .inspect) { (_, node) in node.modified }
  }

  func identity() throws(FileError) -> FileIdentity { FileIdentity(device: 1, inode: UInt64(node)) }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FileError) {
    try with(.read, .read) { (_, node) throws(FileError) in
      guard let start = Int(exactly: offset), start <= node.current.count,
        buffer.count <= node.current.count - start
      else { throw FileError(.read, path: path, code: 0, offset: offset) }
      unsafe buffer.copyBytes(from: node.current[start..<start + buffer.count])
    }
  }

  @unsafe func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(FileError) {
    let bytes = unsafe Array(buffer)
    try with(.write, .write) { (state, node) throws(FileError) in
      guard let start = Int(exactly: offset) else { throw FileError(.write, path: path, code: EFBIG) }
      let others = state.nodes.values.reduce(0) { $0 + $1.current.count }
      let room = max(0, state.capacity - others)
      let fitting = max(0, min(bytes.count, room - start))
      let isFull = max(node.current.count, start + bytes.count) > room
      let written = isFull && start + bytes.count > node.current.count ? Array(bytes[..<fitting]) : bytes
      if node.current.count < start {
        node.current += [UInt8](repeating: 0, count: start - node.current.count)
      }
      let overlap = min(written.count, node.current.count - start)
      node.current.replaceSubrange(start..<start + overlap, with: written[..<overlap])
      node.current += written[overlap...]
      node.modified += 1
      node.pending.append(.write(offset: start, bytes: written))
      state.bytesWritten += written.count
      if written.count < bytes.count { throw FileError(.write, path: path, code: ENOSPC, offset: offset) }
    }
  }

  func sync(_ scope: SyncScope) throws(FileError) {
    let observer = system.state.withValue { state in
      state.onSync.map { ($0, SimulatedFileSystem.Snapshot(state)) }
    }
    observer.map { $0.0($0.1) }
    try with(.sync, .sync) { (_, node) in
      node.durable = node.current
      node.pending = []
    }
  }

  func truncate(to size: UInt64) throws(FileError) {
    try with(.truncate, .truncate) { (_, node) in
      let size = Int(size)
      if size == node.current.count { return }
      if size < node.current.count {
        node.current.removeSubrange(size...)
      } else {
        node.current += [UInt8](repeating: 0, count: size - node.current.count)
      }
      node.modified += 1
      node.pending.append(.truncate(size: size))
    }
  }

  func reserve(_ length: UInt64, at offset: UInt64) throws(FileError) {
    try with(.reserve, .reserve) { (state, node) throws(FileError) in
      let others = state.nodes.values.reduce(0) { $0 + $1.current.count }
      let needed = others.addingReportingOverflow(Int(offset + length))
      if needed.overflow || needed.partialValue > state.capacity {
        throw FileError(.reserve, path: path, code: ENOSPC)
      }
    }
  }

  func lockForWriting() throws(FileError) -> LockOutcome {
    let outcome: LockOutcome = try with(nil, .lock) { (state, node) in
      guard state.supportsLocks else { return .unsupported }
      if node.isLocked { return .heldByAnother }
      node.isLocked = true
      return .taken
    }
    if outcome == .taken { holdsLock.withValue { $0 = true } }
    return outcome
  }

  func isLockedByAnother() -> Bool {
    (try? with(nil, .lock) { (_, node) in node.isLocked }) == true && !holdsLock.withValue { $0 }
  }

  func unlock() {
    guard
      holdsLock.withValue({ held in
        defer { held = false }
        return held
      })
    else { return }
    try? with(nil, .lock) { (_, node) in node.isLocked = false }
  }

  func map(length: UInt64) throws(FileError) -> MappedRegion {
    let bytes = try with(.map, .map) { (_, node) in Array(node.current.prefix(Int(length))) }
    let buffer = RawBuffer(count: bytes.count)
    unsafe buffer.bytes.copyBytes(from: bytes)
    return unsafe MappedRegion(bytes: UnsafeRawBufferPointer(buffer.bytes)) { _ = buffer }
  }
}
