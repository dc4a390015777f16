/// A fresh path in the directory of `target`, for what will be renamed to it.
///
/// It does not contain the name, which may already be as long as the system allows.
public func temporaryPath(for target: String) throws(FileError) -> String {
  let name = ".\(String(try Bits128.random().low, radix: 36)).partial"
  let directory = PosixFileSystem.directory(of: target)
  return target.utf8.contains(UInt8(ascii: "/")) ? "\(directory)/\(name)" : name
}

/// Writes a file that appears under its name only when it is whole.
///
/// The bytes go to a temporary file beside `path`; when `write` returns, it is flushed, renamed over `path`,
/// and the directory is flushed. On any error the temporary file is removed and `path` is as it was.
/// A symbolic link at `path` is followed: the file it names is replaced, the link stays.
///
/// - Throws: what `write` throws, or a `FileError` turned by `failure` into that type.
public func writeAtomically<Failure: Error>(
  _ path: String, in system: any FileSystem, failure: (FileError) -> Failure,
  _ write: (any File) throws(Failure) -> Void
) throws(Failure) {
  let target = system.resolve(path)
  let temporary: String
  let file: any File
  do throws(FileError) {
    temporary = try temporaryPath(for: target)
    file = try system.open(temporary, .createNew)
  } catch { throw failure(error) }
  TemporaryFiles.began(temporary)
  defer { TemporaryFiles.ended(temporary) }
  do throws(Failure) {
    try write(file)
    do throws(FileError) {
      try file.sync(.everything)
      try system.rename(temporary, to: target)
      try system.syncDirectory(of: target)
    } catch { throw failure(error) }
  } catch {
    try? system.remove(temporary)
    throw error
  }
}
