import LMoECore

/// How tensors are stored.
public enum CodecPolicy: String, CaseIterable, Hashable, Sendable {
  /// As they are: larger, and usable from a memory map.
  case raw
  /// Split into byte planes, each entropy-coded where that pays.
  case planes
}

/// The scratch space to encode and decode chunks, one thread at a time.
@safe final class ChunkCoder: @unchecked Sendable {
  let zstd: ZstdContexts
  /// Planes between filter and entropy coder.
  private(set) var planes = RawBuffer(count: 1)
  /// Encoded bytes.
  private(set) var output = RawBuffer(count: 1)
  /// Raw bytes, for the caller and for the writer's check.
  private(set) var raw = RawBuffer(count: 1)
  private(set) var check = RawBuffer(count: 1)

  init() throws(FormatError) {
    guard let zstd = ZstdContexts() else {
      throw FormatError(.encodingFailed, field: "cannot make a zstd context")
    }
    self.zstd = zstd
  }

  /// Makes room for chunks of `count` raw bytes.
  func reserve(_ count: Int) {
    guard unsafe raw.bytes.count < count else { return }
    // Output never exceeds the raw bytes; the slack holds the planes' header while that is not yet known.
    planes = RawBuffer(count: count)
    output = RawBuffer(count: count + 256)
    raw = RawBuffer(count: count)
    check = RawBuffer(count: count)
  }
}

/// Coders shared by the threads that read from one bundle.
final class CoderPool: Sendable {
  private let coders = Guarded<[ChunkCoder]>([])

  func borrow(chunkBytes: Int) throws(FormatError) -> ChunkCoder {
    let idle = coders.withValue { $0.popLast() }
    let coder: ChunkCoder
    if let idle { coder = idle } else { coder = try ChunkCoder() }
    coder.reserve(chunkBytes)
    return coder
  }

  func giveBack(_ coder: ChunkCoder) { coders.withValue { $0.append(coder) } }
}
