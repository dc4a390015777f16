#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// A block of memory, 64-byte aligned, that lives as long as this object.
///
/// Used for weights on their way through: reused from chunk to chunk, never initialised for nothing. One
/// thread at a time writes to it.
@safe public final class RawBuffer: @unchecked Sendable {
  /// The memory.
  ///
  /// Valid while this object is.
  @unsafe public let bytes: UnsafeMutableRawBufferPointer

  private static let hugePage = 2 << 20

  /// Allocates `count` bytes (at least one).
  public init(count: Int) {
    let isLarge = count >= Self.hugePage
    unsafe bytes = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(count, 1), alignment: isLarge ? Self.hugePage : 64)
    #if os(Linux)
      // Touching a gigabyte for the first time in 4 KiB steps costs more than decoding it.
      if isLarge {
        _ = unsafe madvise(bytes.baseAddress, count / Self.hugePage * Self.hugePage, MADV_HUGEPAGE)
      }
    #endif
  }

  deinit { unsafe bytes.deallocate() }

  /// The first `count` bytes.
  @unsafe public func prefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
  }
}
