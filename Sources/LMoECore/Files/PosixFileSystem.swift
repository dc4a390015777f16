private import CLMoEKernels

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// The operating system's files.
public struct PosixFileSystem: FileSystem {
  /// The only one there is.
  public init() {}

  /// Opens `path`.
  public func open(_ path: String, _ mode: FileMode) throws(FileError) -> any File {
    let flags: Int32 =
      switch mode {
      case .read: O_RDONLY | O_CLOEXEC
      case .update: O_RDWR | O_CLOEXEC
      case .createNew: O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC
      }
    // O_NONBLOCK: opening a FIFO must not wait for its writer.
    let descriptor = unsafe path.withCString { unsafe Self.openFile($0, flags | O_NONBLOCK) }
    let operation: FileError.Operation = mode == .createNew ? .create : .open
    guard descriptor >= 0 else { throw FileError(operation, path: path, code: lmoe_errno()) }
    let file = PosixFile(path: path, descriptor: descriptor)
    var facts = stat()
    guard unsafe fstat(descriptor, &facts) == 0 else {
      throw FileError(operation, path: path, code: lmoe_errno())
    }
    guard facts.st_mode & S_IFMT == S_IFREG else {
      throw FileError(operation, path: path, code: facts.st_mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL)
    }
    return file
  }

  @unsafe private static func openFile(_ path: UnsafePointer<CChar>, _ flags: Int32) -> Int32 {
    while true {
      let descriptor = unsafe Self.call(path, flags)
      if descriptor >= 0 || lmoe_errno() != EINTR { return descriptor }
    }
  }

  @unsafe private static func call(_ path: UnsafePointer<CChar>, _ flags: Int32) -> Int32 {
    #if canImport(Glibc)
      unsafe Glibc.open(path, flags, 0o666)
    #else
      unsafe Darwin.open(path, flags, 0o666)
    #endif
  }

  /// Gives the file at `source` the path `target`, replacing what is there.
  public func rename(_ source: String, to target: String) throws(FileError) {
    #if canImport(Glibc)
      let result = unsafe Glibc.rename(source, target)
    #else
      let result = unsafe Darwin.rename(source, target)
    #endif
    guard result == 0 else { throw FileError(.rename, path: target, code: lmoe_errno()) }
  }

  /// Gives the file at `target` mode and owner of the one at `source`, as far as the system lets.
  public func copyPermissions(from source: String, to target: String) {
    guard let facts = status(source) else { return }
    _ = unsafe chown(target, facts.st_uid, facts.st_gid)
    _ = unsafe chmod(target, facts.st_mode & 0o7777)
  }

  /// Removes a file.
  public func remove(_ path: String) throws(FileError) {
    guard unsafe unlink(path) == 0 else { throw FileError(.remove, path: path, code: lmoe_errno()) }
  }

  /// Makes the entries of the directory that holds `path` stable.
  public func syncDirectory(of path: String) throws(FileError) {
    let directory = Self.directory(of: path)
    let descriptor = unsafe directory.withCString { unsafe Self.openFile($0, O_RDONLY | O_CLOEXEC) }
    guard descriptor >= 0 else { throw FileError(.sync, path: directory, code: lmoe_errno()) }
    defer { _ = close(descriptor) }
    // Some file systems cannot flush a directory and say EINVAL; there is nothing more to do there.
    guard fsync(descriptor) == 0 || lmoe_errno() == EINVAL else {
      throw FileError(.sync, path: directory, code: lmoe_errno())
    }
  }

  /// The directory part of `path`.
  public static func directory(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private func status(_ path: String) -> stat? {
    var facts = stat()
    return unsafe stat(path, &facts) == 0 ? facts : nil
  }

  /// The identity of what `path` leads to.
  public func identity(_ path: String) throws(FileError) -> FileIdentity {
    guard let facts = status(path) else { throw FileError(.inspect, path: path, code: lmoe_errno()) }
    return FileIdentity(device: UInt64(facts.st_dev), inode: UInt64(facts.st_ino))
  }

  /// What `path` leads to.
  public func kind(_ path: String) -> FileKind? {
    guard let facts = status(path) else { return nil }
    switch facts.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .directory
    default: return .other
    }
  }

  /// The names in a directory, sorted by bytes.
  public func list(_ directory: String) throws(FileError) -> [String] {
    guard let stream = unsafe opendir(directory) else {
      throw FileError(.list, path: directory, code: lmoe_errno())
    }
    defer { _ = unsafe closedir(stream) }
    var names: [ByteKey] = []
    while true {
      // A failed read looks like the end of the directory, but for errno.
      lmoe_clear_errno()
      guard let entry = unsafe readdir(stream) else {
        guard lmoe_errno() == 0 else { throw FileError(.list, path: directory, code: lmoe_errno()) }
        break
      }
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      if name != "." && name != ".." { names.append(ByteKey(name)) }
    }
    return names.sorted().map(\.text)
  }

  /// Makes a directory.
  public func makeDirectory(_ path: String) throws(FileError) {
    guard unsafe mkdir(path, 0o777) == 0 else {
      throw FileError(.makeDirectory, path: path, code: lmoe_errno())
    }
  }

  /// Removes an empty directory.
  public func removeDirectory(_ path: String) throws(FileError) {
    guard unsafe rmdir(path) == 0 else { throw FileError(.remove, path: path, code: lmoe_errno()) }
  }

  /// `path` with all links followed, also the last one that leads to nothing yet.
  public func resolve(_ path: String) -> String {
    var path = path
    for _ in 0..<40 {
      if let resolved = unsafe realpath(path, nil) {
        defer { unsafe free(resolved) }
        return unsafe String(cString: resolved)
      }
      guard let target = link(path) else { return path }
      path = target.hasPrefix("/") ? target : Self.directory(of: path) + "/" + target
    }
    return path
  }

  /// What a symbolic link says; nil if `path` is none.
  private func link(_ path: String) -> String? {
    let text = unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
      let length = unsafe buffer.withMemoryRebound(to: CChar.self) { text in
        guard let start = text.baseAddress else { return 0 }
        return unsafe readlink(path, start, text.count)
      }
      count = max(0, length)
    }
    return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
  }
}
