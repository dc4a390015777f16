import LMoECore
import LMoEFormat

/// The order of the rows of q and k in GGUF files of the architecture llama.
///
/// There a head's rotation pairs element 2i with 2i + 1; in a checkpoint of transformers, and in a bundle, i with
/// i + d/2. Only whole rows change places, each within its head.
struct HeadOrder: Hashable, Sendable {
  /// Rows of a head: d.
  let dimension: Int
  /// Whether rows are brought into GGUF's order, or out of it.
  let isExport: Bool

  /// The row of the source that stands at `row` of the result.
  func source(of row: Int) -> Int {
    let (head, place) = (row / dimension * dimension, row % dimension)
    let half = dimension / 2
    return isExport ? head + place / 2 + place % 2 * half : head + place % half * 2 + place / half
  }
}

/// A tensor whose rows stand in another order, head by head.
struct ReorderedSource: ByteSource {
  private let source: any ByteSource
  private let order: HeadOrder
  private let rowBytes: Int

  /// Reorders the rows of a tensor of the type `type`; a vector has rows of one element.
  init(_ source: any ByteSource, _ type: TensorType, _ order: HeadOrder) {
    (self.source, self.order) = (source, order)
    rowBytes = type.rawBytes / max(type.shape.first ?? 1, 1)
  }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    guard rowBytes > 0, buffer.count > 0 else { return }
    let head = order.dimension * rowBytes
    var position = Int(offset)
    let (base, end) = (position, position + buffer.count)
    // Several heads at a time, since a compressed source decodes a whole chunk for any part of it.
    let step = max(head, min((end - position / head * head + head - 1) / head, (1 << 20) / head) * head)
    let raw = RawBuffer(count: step)
    while position < end {
      let start = position / head * head
      let last = min(start + step, (end + head - 1) / head * head)
      let stop = min(end, last)
      let part = unsafe raw.prefix(last - start)
      try unsafe source.read(into: part, at: UInt64(start))
      while position < stop {
        let row = position / rowBytes
        let skipped = position % rowBytes
        let count = min(rowBytes - skipped, stop - position)
        let from = order.source(of: row) * rowBytes - start + skipped
        unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[position - base..<position - base + count])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: raw.bytes[from..<from + count]))
        position += count
      }
    }
  }
}
