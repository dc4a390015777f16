import LMoECore
import LMoEFormat

extension Bundle {
  /// Bytes that are decoded at a time: what a file says of its size costs no memory before its chunks are there.
  private static let batch = 64 << 20

  /// The values of many tensors of floats or of blocks that are known, decoded and checked on all workers.
  ///
  /// - Throws: `FormatError` with `unsupported-dtype` for other tensors, or what decoding throws.
  func floats(of entries: [BankedEntry], on pool: WorkerPool = .shared) throws(FormatError) -> [[Float]] {
    var result: [[Float]] = []
    result.reserveCapacity(entries.count)
    var next = 0
    while next < entries.count {
      var end = next
      var bytes = 0
      repeat {
        bytes += Self.room(entries[end])
        end += 1
      } while end < entries.count && bytes + Self.room(entries[end]) <= Self.batch
      result += try floats(of: Array(entries[next..<end]), bytes: bytes, on: pool)
      next = end
    }
    return result
  }

  /// Bytes for a tensor, so that the next one is aligned for every element type.
  private static func room(_ item: BankedEntry) -> Int { (item.entry.type.rawBytes + 7) & ~7 }

  private func floats(
    of entries: [BankedEntry], bytes: Int, on pool: WorkerPool
  ) throws(FormatError) -> [[Float]] {
    var offsets: [Int] = []
    var readers: [FloatValues] = []
    for item in entries {
      guard let values = FloatValues(item.entry.type) else {
        throw FormatError(
          .unsupportedDType, path: path, bank: item.bank, entry: item.entry.name,
          found: item.entry.type.dtypeName)
      }
      offsets.append((offsets.last ?? 0) + (offsets.isEmpty ? 0 : Self.room(entries[offsets.count - 1])))
      readers.append(values)
    }
    let buffer = RawBuffer(count: bytes)
    let starts = offsets
    try unsafe decode(entries, on: pool) { (index, offset, bytes) in
      let start = starts[index] + offset
      unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[start..<start + bytes.count])
        .copyMemory(from: bytes)
    }
    return entries.indices.map { index in
      let type = entries[index].entry.type
      let start = starts[index]
      return unsafe [Float](unsafeUninitializedCapacity: type.elementCount) { floats, count in
        unsafe readers[index].convert(
          UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<start + type.rawBytes]), to: floats)
        count = type.elementCount
      }
    }
  }
}
