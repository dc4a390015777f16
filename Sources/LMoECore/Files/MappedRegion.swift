/// A part of a file in memory, read-only, for as long as this object lives.
///
/// Touching it after the file was cut short, or where the disk fails, raises SIGBUS; so what is read through a
/// map is first read and checked with positioned reads, whose errors are errors.
@safe public final class MappedRegion: Sendable {
  /// The bytes.
  ///
  /// Valid while this object is.
  @unsafe public nonisolated(unsafe) let bytes: UnsafeRawBufferPointer
  private let unmap: @Sendable () -> Void

  /// Wraps memory; `unmap` releases it.
  @unsafe public init(bytes: UnsafeRawBufferPointer, unmap: @escaping @Sendable () -> Void) {
    unsafe self.bytes = unsafe bytes
    self.unmap = unmap
  }

  deinit { unmap() }
}
