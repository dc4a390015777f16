#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// A failed operation on a file: what was tried, on which path, and the system's error.
public struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What was tried.
  public enum Operation: String, Hashable, Sendable {
    case open, create, read, write, truncate, sync, lock, map, rename, remove, list, inspect, random
    case reserve = "reserve space for"
    case makeDirectory = "make the directory"
  }

  /// What was tried.
  public let operation: Operation
  /// The file.
  public let path: String
  /// The system's error number; 0 where the file ended too early.
  public let code: Int32
  /// Where in the file, if known.
  public let offset: UInt64?

  /// Makes an error of its facts.
  public init(_ operation: Operation, path: String, code: Int32, offset: UInt64? = nil) {
    self.operation = operation
    self.path = path
    self.code = code
    self.offset = offset
  }

  /// Whether there is no such file.
  public var isNotFound: Bool { code == ENOENT }

  /// The sentence.
  public var description: String {
    let place = offset.map { " at offset \($0)" } ?? ""
    let verb = operation.rawValue
    switch code {
    case 0: return "cannot \(verb) \(path.printable)\(place): the file ends too early"
    case ENOSPC, EDQUOT:
      return "cannot \(verb) \(path.printable): the disk is full; free some space and run the command again"
    case ENOENT: return "cannot \(verb) \(path.printable): no such file or directory"
    case EACCES, EPERM, EROFS:
      return "cannot \(verb) \(path.printable): permission denied or read-only file system"
    default:
      let reason = unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
      return "cannot \(verb) \(path.printable)\(place): \(reason)"
    }
  }
}
