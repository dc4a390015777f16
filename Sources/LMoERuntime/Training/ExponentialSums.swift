import LMoECore

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// Σ exp of blocks of logits, which workers write apart from each other.
final class ExponentialSums: @unchecked Sendable {
  private let memory: RawBuffer
  private let blocks: Int

  init(rows: Int, blocks: Int) {
    memory = RawBuffer(count: max(1, rows * blocks) * MemoryLayout<Double>.stride)
    self.blocks = blocks
  }

  /// Where the sums of a row are, from a block on.
  @unsafe func place(_ row: Int, _ block: Int) -> UnsafeMutablePointer<Double> {
    unsafe memory.bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Double.self) + row * blocks
      + block
  }

  /// The sum of a row, its blocks in order.
  func total(_ row: Int) -> Double {
    let sums = unsafe place(row, 0)
    return (0..<blocks).reduce(0) { unsafe $0 + sums[$1] }
  }

  static func logarithm(_ value: Double) -> Double { log(value) }
}
