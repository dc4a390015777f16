private import CLMoEKernels

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// A part of a file in memory, read-only, for as long as this object lives.
///
/// Touching it after the file was cut short, or where the disk fails, ends the process; `populate(_:)` tells
/// beforehand, and everything in this project that reads through a map calls it first.
@safe public final class MappedRegion: Sendable {
  /// The bytes. Valid while this object is.
  @unsafe public nonisolated(unsafe) let bytes: UnsafeRawBufferPointer
  private let unmap: @Sendable () -> Void

  /// Wraps memory; `unmap` releases it.
  @unsafe public init(bytes: UnsafeRawBufferPointer, unmap: @escaping @Sendable () -> Void) {
    unsafe self.bytes = unsafe bytes
    self.unmap = unmap
  }

  deinit { unmap() }

  /// Brings a range into memory, so that an I/O error comes back here as its number, not as a signal.
  ///
  /// - Returns: 0, or the error number. Where the system has no such call, 0.
  public func populate(_ range: Range<Int>) -> Int32 {
    let count = unsafe bytes.count
    guard range.lowerBound >= 0, range.upperBound <= count, !range.isEmpty else { return 0 }
    let page = 4096
    let start = range.lowerBound / page * page
    let address = unsafe UnsafeMutableRawPointer(mutating: bytes.baseAddress)
    guard let address = unsafe address else { return 0 }
    let code = unsafe lmoe_populate_read(address + start, range.upperBound - start)
    return code == EINVAL ? 0 : code == EFAULT ? EIO : code
  }
}
