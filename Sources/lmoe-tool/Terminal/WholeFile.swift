import LMoECore

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// All bytes of a file, a pipe, or stdin (`-`).
///
/// - Throws: `FileError`.
func readWhole(_ path: String) throws(FileError) -> [UInt8] {
  let descriptor = path == "-" ? 0 : unsafe open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw FileError(.open, path: path, code: errno) }
  defer { if descriptor != 0 { _ = close(descriptor) } }
  var output: [UInt8] = []
  var window = [UInt8](repeating: 0, count: 1 << 18)
  while true {
    let count = unsafe window.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
    if count < 0 {
      if errno == EINTR { continue }
      throw FileError(.read, path: path, code: errno)
    }
    if count == 0 { return output }
    output += window[..<count]
  }
}
