import LMoECore

/// Rows of float32 activations in memory that somebody else keeps: a view.
///
/// Workers write disjoint parts of it; whoever makes one keeps the memory alive.
@safe struct Rows: @unchecked Sendable {
  @unsafe let base: UnsafeMutablePointer<Float>
  /// The number of rows.
  let count: Int
  /// Floats in a row.
  let width: Int
  /// Floats from one row to the next.
  let stride: Int

  @unsafe init(base: UnsafeMutablePointer<Float>, count: Int, width: Int, stride: Int? = nil) {
    unsafe self.base = base
    (self.count, self.width, self.stride) = (count, width, stride ?? width)
  }

  /// The first float of a row.
  @unsafe func row(_ index: Int) -> UnsafeMutablePointer<Float> { unsafe base + index * stride }

  /// Some of the rows.
  subscript(rows: Range<Int>) -> Rows {
    unsafe Rows(base: base + rows.lowerBound * stride, count: rows.count, width: width, stride: stride)
  }

  /// Some of the columns.
  func columns(_ columns: Range<Int>) -> Rows {
    unsafe Rows(base: base + columns.lowerBound, count: count, width: columns.count, stride: stride)
  }

  /// One float.
  subscript(row: Int, column: Int) -> Float {
    get { unsafe base[row * stride + column] }
    nonmutating set { unsafe base[row * stride + column] = newValue }
  }

  /// A row as an array.
  func array(_ row: Int) -> [Float] {
    unsafe Array(UnsafeBufferPointer(start: base + row * stride, count: width))
  }

  /// Fills all with zeros.
  func clear() {
    for index in 0..<count { unsafe row(index).update(repeating: 0, count: width) }
  }
}

/// Memory for activations, 64-byte aligned, that grows as needed and is used again for every step.
///
/// One thread at a time asks for rows.
final class Activations {
  private var buffer = RawBuffer(count: 0)
  private var capacity = 0

  /// `count` rows of `width` floats; what was there before is lost.
  func rows(_ count: Int, _ width: Int) -> Rows {
    let needed = max(1, count * width)
    if needed > capacity {
      capacity = needed
      buffer = RawBuffer(count: needed * MemoryLayout<Float>.stride)
    }
    return unsafe Rows(
      base: buffer.bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Float.self), count: count,
      width: width)
  }
}

/// Rows that keep their own memory.
final class OwnedRows: Sendable {
  private let buffer: RawBuffer
  /// The rows.
  let rows: Rows

  init(_ count: Int, _ width: Int) {
    buffer = RawBuffer(count: max(1, count * width) * MemoryLayout<Float>.stride)
    rows = unsafe Rows(
      base: buffer.bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Float.self), count: count,
      width: width)
  }
}
