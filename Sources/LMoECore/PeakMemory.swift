#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// The most memory that the process has had at once, in bytes, mapped files that were touched included; nil if the
/// system does not tell.
public func peakMemory() -> Int? {
  #if canImport(Glibc)
    // Unlike getrusage, this begins with the program and not with the one that started it.
    let file = unsafe open("/proc/self/status", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let text = unsafe [UInt8](unsafeUninitializedCapacity: 1 << 14) { buffer, count in
      unsafe count = max(0, read(file, buffer.baseAddress, buffer.count))
    }
    let key = Array("VmHWM:".utf8)
    guard let line = text.split(separator: UInt8(ascii: "\n")).first(where: { $0.starts(with: key) }),
      let kibibytes = Int(
        String(
          decoding: line.filter { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }, as: UTF8.self))
    else { return nil }
    return kibibytes << 10
  #else
    var usage = rusage()
    guard unsafe getrusage(RUSAGE_SELF, &usage) == 0 else { return nil }
    return usage.ru_maxrss
  #endif
}
