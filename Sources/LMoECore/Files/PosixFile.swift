private import CLMoEKernels

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// An open file of the operating system.
final class PosixFile: File {
  let path: String
  private let descriptor: Int32

  init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  deinit { _ = close(descriptor) }

  private func status() throws(FileError) -> stat {
    var facts = stat()
    guard unsafe fstat(descriptor, &facts) == 0 else {
      throw FileError(.inspect, path: path, code: lmoe_errno())
    }
    return facts
  }

  func size() throws(FileError) -> UInt64 { UInt64(clamping: try status().st_size) }

  func modificationTime() throws(FileError) -> Int64 {
    let facts = try status()
    #if canImport(Glibc)
      let time = facts.st_mtim
    #else
      let time = facts.st_mtimespec
    #endif
    return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
  }

  func identity() throws(FileError) -> FileIdentity {
    let facts = try status()
    return FileIdentity(device: UInt64(facts.st_dev), inode: UInt64(facts.st_ino))
  }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FileError) {
    var done = 0
    while done < buffer.count {
      guard let position = off_t(exactly: offset + UInt64(done)) else {
        throw FileError(.read, path: path, code: EOVERFLOW, offset: offset)
      }
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let got = unsafe pread(descriptor, rest.baseAddress, rest.count, position)
      if got < 0 {
        let code = lmoe_errno()
        if code == EINTR { continue }
        throw FileError(.read, path: path, code: code, offset: offset + UInt64(done))
      }
      if got == 0 { throw FileError(.read, path: path, code: 0, offset: offset + UInt64(done)) }
      done += got
    }
  }

  @unsafe func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws(FileError) {
    var done = 0
    while done < buffer.count {
      guard let position = off_t(exactly: offset + UInt64(done)) else {
        throw FileError(.write, path: path, code: EOVERFLOW, offset: offset)
      }
      let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
      let put = unsafe pwrite(descriptor, rest.baseAddress, rest.count, position)
      if put < 0 {
        let code = lmoe_errno()
        if code == EINTR { continue }
        throw FileError(.write, path: path, code: code, offset: offset + UInt64(done))
      }
      if put == 0 { throw FileError(.write, path: path, code: EIO, offset: offset + UInt64(done)) }
      done += put
    }
  }

  func sync(_ scope: SyncScope) throws(FileError) {
    #if os(Linux)
      let result = scope == .dataOnly ? fdatasync(descriptor) : fsync(descriptor)
    #else
      let result = fcntl(descriptor, F_FULLFSYNC) == -1 ? fsync(descriptor) : 0
    #endif
    guard result == 0 else { throw FileError(.sync, path: path, code: lmoe_errno()) }
  }

  func truncate(to size: UInt64) throws(FileError) {
    guard let length = off_t(exactly: size) else { throw FileError(.truncate, path: path, code: EFBIG) }
    guard ftruncate(descriptor, length) == 0 else {
      throw FileError(.truncate, path: path, code: lmoe_errno())
    }
  }

  func reserve(_ length: UInt64, at offset: UInt64) throws(FileError) {
    guard length > 0, let length = Int64(exactly: length), let offset = Int64(exactly: offset) else { return }
    let code = lmoe_reserve(descriptor, offset, length)
    // Only a full disk is news; a file system without reservations is not.
    if code == ENOSPC || code == EDQUOT || code == EFBIG {
      throw FileError(.reserve, path: path, code: code)
    }
  }

  func lockForWriting() throws(FileError) -> LockOutcome {
    switch lmoe_lock_writer(descriptor, 1) {
    case 0: return .taken
    case EAGAIN, EACCES: return .heldByAnother
    case ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP, EINVAL: return .unsupported
    case let code: throw FileError(.lock, path: path, code: code)
    }
  }

  func isLockedByAnother() -> Bool { lmoe_writer_is_locked(descriptor) == 1 }

  func unlock() { _ = lmoe_lock_writer(descriptor, 0) }

  func map(length: UInt64) throws(FileError) -> MappedRegion {
    guard let length = Int(exactly: length), length > 0 else {
      throw FileError(.map, path: path, code: EINVAL)
    }
    guard let address = unsafe mmap(nil, length, PROT_READ, MAP_SHARED, descriptor, 0),
      unsafe address != MAP_FAILED
    else { throw FileError(.map, path: path, code: lmoe_errno()) }
    let start = UInt(bitPattern: address)
    return unsafe MappedRegion(
      bytes: UnsafeRawBufferPointer(start: address, count: length),
      of: .file(isOwn: lmoe_is_own(descriptor) != 0)
    ) {
      _ = unsafe munmap(UnsafeMutableRawPointer(bitPattern: start), length)
    }
  }
}
