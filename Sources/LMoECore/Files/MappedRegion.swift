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
  private let source: Source
  private let unmap: @Sendable () -> Void

  /// What the memory is.
  public enum Source: Sendable {
    /// Memory that holds the bytes.
    case memory
    /// A file's map by the system, which tells the owner of a file what it holds of it, and nobody else.
    case file(isOwn: Bool)
  }

  /// Wraps memory; `unmap` releases it.
  @unsafe public init(
    bytes: UnsafeRawBufferPointer, of source: Source = .memory, unmap: @escaping @Sendable () -> Void
  ) {
    unsafe self.bytes = unsafe bytes
    (self.source, self.unmap) = (source, unmap)
  }

  /// Brings the pages that hold `range` into memory.
  ///
  /// Those that are in memory already are left for the first touch to enter into the page tables: on several threads
  /// that takes less than letting the system go from page to page.
  ///
  /// - Returns: false where they cannot be read, or the system has no such call.
  public func populate(_ range: Range<Int>) -> Bool {
    guard case .file(let isOwn) = source, let base = unsafe bytes.baseAddress else { return false }
    let start = unsafe base + range.lowerBound
    if isOwn, unsafe lmoe_is_resident(start, range.count) != 0 { return true }
    return unsafe lmoe_populate(start, range.count) == 0
  }

  deinit { unmap() }
}
