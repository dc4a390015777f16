import LMoECore
import LMoEFormat

/// NF4 blocks of what bitsandbytes keeps in four tensors.
struct NF4Source: ByteSource {
  let quants: any ByteSource
  let quantBytes: Int
  let absmax: any ByteSource
  let absmaxCount: Int
  let nested: [Float]
  let offset: Float

  private static let (runs, packed) = (256, 8192)
  private static let blockBytes = 8 + runs + packed

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    let start = Int(offset)
    let size = Self.blockBytes
    let scratch = RawBuffer(count: size)
    for block in start / size..<(start + buffer.count + size - 1) / size {
      let bytes = unsafe scratch.prefix(size)
      unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
      unsafe bytes.storeBytes(of: self.offset.bitPattern.littleEndian, toByteOffset: 0, as: UInt32.self)
      unsafe bytes.storeBytes(of: nested[block].bitPattern.littleEndian, toByteOffset: 4, as: UInt32.self)
      let codes = min(Self.runs, absmaxCount - block * Self.runs)
      try unsafe absmax.read(
        into: UnsafeMutableRawBufferPointer(rebasing: bytes[8..<8 + codes]), at: UInt64(block * Self.runs))
      let count = min(Self.packed, quantBytes - block * Self.packed)
      let first = 8 + Self.runs
      try unsafe quants.read(
        into: UnsafeMutableRawBufferPointer(rebasing: bytes[first..<first + count]),
        at: UInt64(block * Self.packed))
      let lower = max(block * size, start)
      let upper = min((block + 1) * size, start + buffer.count)
      unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[lower - start..<upper - start]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: bytes[lower - block * size..<upper - block * size]))
    }
  }
}
