private import CLMoEKernels

/// A part of a file in memory, read-only, for as long as this object lives.
///
/// Touching it after the file was cut short, or where the disk fails, raises SIGBUS; so what is read through a
/// map is first brought in with `populate`, or read with positioned reads, whose errors are errors.
@safe public final class MappedRegion: Sendable {
  /// The bytes.
  ///
  /// Valid while this object is.
  @unsafe public nonisolated(unsafe) let bytes: UnsafeRawBufferPointer
  private let isFile: Bool
  private let unmap: @Sendable () -> Void

  /// Wraps memory; `unmap` releases it.
  ///
  /// - Parameter isFile: Whether it is a file's, mapped by the system.
  @unsafe public init(
    bytes: UnsafeRawBufferPointer, isFile: Bool = false, unmap: @escaping @Sendable () -> Void
  ) {
    unsafe self.bytes = unsafe bytes
    (self.isFile, self.unmap) = (isFile, unmap)
  }

  /// Brings the pages that hold `range` into memory and into the page tables, at less than the cost of
  /// touching them one after another.
  ///
  /// - Returns: false where they cannot be read, or the system has no such call.
  public func populate(_ range: Range<Int>) -> Bool {
    guard isFile, let base = unsafe bytes.baseAddress else { return false }
    return unsafe lmoe_populate(base + range.lowerBound, range.count) == 0
  }

  deinit { unmap() }
}
