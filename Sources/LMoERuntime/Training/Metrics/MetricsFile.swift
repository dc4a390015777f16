public import LMoECore

/// The metrics file of a run, while it is written.
///
/// Lines are appended as the run goes, each with one write, so that whoever reads the file meanwhile has at
/// most one torn line at its end.
public final class MetricsFile {
  /// Where it is.
  public let path: String
  private let file: any File
  private var end: UInt64

  /// Begins the file of a new run; what was at `path` is lost.
  ///
  /// - Throws: `FileError`.
  public init(creating path: String, in system: any FileSystem = PosixFileSystem()) throws(FileError) {
    self.path = path
    if system.kind(path) == .file {
      file = try system.open(path, .update)
      try file.truncate(to: 0)
    } else {
      file = try system.open(path, .createNew)
    }
    end = 0
  }

  /// Goes on with the file of a run that is at `step` again: everything after that is cut off.
  ///
  /// - Throws: `FileError`, or `RuntimeError` with `invalid-data` where a line is none of the schema.
  public init(
    resuming path: String, at step: Int, in system: any FileSystem = PosixFileSystem()
  ) throws {
    self.path = path
    file = try system.open(path, .update)
    let bytes = try file.bytes(at: 0, count: Int(clamping: try file.size()))
    var cut: Int?
    try MetricsLine.read(path: path, bytes: bytes) { line, offset in
      if line.step > step { cut = offset }
      return cut == nil
    }
    // A torn line goes; one that lacks nothing but its end comes again, for it was not finished.
    let whole = bytes.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
    end = UInt64(min(cut ?? whole, whole))
    try file.truncate(to: end)
  }

  /// Appends a line.
  ///
  /// - Throws: `FileError`; the file is then as it was, as far as the system lets.
  public func append(_ line: MetricsLine) throws(FileError) {
    let bytes = Array(line.json.serialized().utf8) + [0x0A]
    do throws(FileError) { try file.write(bytes, at: end) } catch {
      try? file.truncate(to: end)
      throw error
    }
    end += UInt64(bytes.count)
  }

  /// Makes what was appended stable.
  ///
  /// - Throws: `FileError`.
  public func sync() throws(FileError) { try file.sync(.dataOnly) }
}
