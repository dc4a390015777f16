import LMoECore

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// Times the plane codec on the tensors of a safetensors file, one thread, bytes in memory.
public struct CodecMeasurement: Sendable {
  /// Raw bytes of the tensors measured.
  public private(set) var rawBytes = 0
  /// What they are stored as.
  public private(set) var storedBytes = 0
  /// Sum over tensors and planes of n·H₀/8: what an order-0 entropy coder could reach at best with one table a
  /// plane.
  public private(set) var entropyBytes = 0.0
  /// Seconds to encode all chunks.
  public private(set) var encodeSeconds = Double.infinity
  /// Seconds to decode all chunks.
  public private(set) var decodeSeconds = Double.infinity
  /// Seconds to encode, hash, decode again and compare: what packing costs.
  public private(set) var packSeconds = Double.infinity

  /// Measures all float tensors of at least `minimumBytes`, `rounds` times; the best round counts.
  public init(
    _ file: SafetensorsFile, minimumBytes: Int = 65_536, chunkBytes: Int = 1 << 20, rounds: Int = 5
  ) throws(FormatError) {
    let tensors = file.tensors.filter { $0.type.rawBytes >= minimumBytes && $0.type.dtype.rotatesSign }
    var chunks: [(type: TensorType, raw: RawBuffer, stored: RawBuffer, chunk: Chunk?)] = []
    for tensor in tensors {
      let whole = RawBuffer(count: tensor.type.rawBytes)
      let source = file.source(of: tensor)
      try unsafe source.read(into: whole.bytes, at: 0)
      entropyBytes += unsafe Self.entropy(UnsafeRawBufferPointer(whole.bytes), of: tensor.type)
      for start in stride(from: 0, to: tensor.type.rawBytes, by: chunkBytes) {
        let count = min(chunkBytes, tensor.type.rawBytes - start)
        let raw = RawBuffer(count: count)
        unsafe raw.bytes.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: whole.bytes[start..<start + count]))
        chunks.append((tensor.type, raw, RawBuffer(count: count), nil))
        rawBytes += count
      }
    }
    let coder = try ChunkCoder()
    coder.reserve(chunkBytes)
    for _ in 0..<rounds {
      var start = monotonicNanoseconds()
      storedBytes = 0
      for index in chunks.indices {
        let bytes = unsafe UnsafeRawBufferPointer(chunks[index].raw.bytes)
        let encoded = unsafe coder.encodeTensor(bytes, of: chunks[index].type)
        storedBytes += unsafe encoded.bytes.count
        unsafe chunks[index].stored.bytes.copyMemory(from: encoded.bytes)
        chunks[index].chunk = unsafe Chunk(
          offset: 0, storedLength: encoded.bytes.count, rawLength: bytes.count, storedHash: 0,
          codec: encoded.codec, filter: encoded.filter, planes: UInt8(encoded.planes))
      }
      encodeSeconds = min(encodeSeconds, Self.seconds(since: start))

      start = monotonicNanoseconds()
      for item in chunks {
        guard let chunk = item.chunk else { continue }
        let stored = unsafe UnsafeRawBufferPointer(item.stored.prefix(chunk.storedLength))
        let target = unsafe coder.check.prefix(chunk.rawLength)
        if let problem = unsafe coder.decode(chunk, of: item.type, stored, into: target) {
          throw FormatError(.encodingFailed, field: problem)
        }
      }
      decodeSeconds = min(decodeSeconds, Self.seconds(since: start))

      start = monotonicNanoseconds()
      let hash = StreamingHash()
      for item in chunks {
        let raw = unsafe UnsafeRawBufferPointer(item.raw.bytes)
        _ = try unsafe BundleWriter.encode(raw, of: item.type, with: coder)
        unsafe hash.update(raw)
      }
      packSeconds = min(packSeconds, Self.seconds(since: start))
    }
  }

  private static func seconds(since start: UInt64) -> Double {
    Double(monotonicNanoseconds() - start) / 1e9
  }

  /// n·H₀/8 summed over the planes of one tensor, the sign rotated.
  @unsafe private static func entropy(_ bytes: UnsafeRawBufferPointer, of type: TensorType) -> Double {
    let width = type.dtype.elementBytes ?? 1
    var counts = [[Int]](repeating: [Int](repeating: 0, count: 256), count: width)
    let elements = bytes.count / width
    for element in 0..<elements {
      var value: UInt64 = 0
      for byte in 0..<width { value |= UInt64(unsafe bytes[element * width + byte]) << (8 * byte) }
      value = value << 1 | value >> (8 * width - 1)
      for byte in 0..<width { counts[byte][Int(UInt8(truncatingIfNeeded: value >> (8 * byte)))] += 1 }
    }
    return counts.reduce(0) { total, plane in
      total
        + plane.filter { $0 > 0 }.reduce(0.0) {
          $0 - Double($1) * log2(Double($1) / Double(elements)) / 8
        }
    }
  }
}
