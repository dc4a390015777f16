private import CLMoEKernels
import LMoECore

/// The keys and values of the tokens a model has seen of one text, for every layer.
///
/// Layout of a layer: [key and value heads, capacity, head width]. It grows as needed. One thread at a time.
public final class KVCache {
  /// How keys and values are kept.
  public enum Precision: String, CaseIterable, Sendable {
    /// Float32: nothing is lost.
    case f32
    /// Float16: half the memory.
    case f16
  }

  /// How keys and values are kept.
  public let precision: Precision
  /// The number of tokens it holds.
  public internal(set) var count = 0
  private(set) var capacity: Int
  private let heads: Int
  private let width: Int
  private var keys: [RawBuffer]
  private var values: [RawBuffer]

  init(layers: Int, heads: Int, width: Int, precision: Precision, capacity: Int) {
    (self.heads, self.width, self.precision) = (heads, width, precision)
    self.capacity = max(1, capacity)
    let bytes = heads * self.capacity * width * (precision == .f32 ? 4 : 2)
    keys = (0..<layers).map { _ in RawBuffer(count: bytes) }
    values = (0..<layers).map { _ in RawBuffer(count: bytes) }
  }

  /// The type of keys and values.
  var kind: Weight.Kind { precision == .f32 ? .f32 : .f16 }

  /// The number of layers.
  var layerCount: Int { keys.count }

  /// Where a layer's keys begin, and its values.
  @unsafe func base(ofKeys layer: Int) -> UnsafeMutableRawPointer? { unsafe keys[layer].bytes.baseAddress }
  @unsafe func base(ofValues layer: Int) -> UnsafeMutableRawPointer? {
    unsafe values[layer].bytes.baseAddress
  }

  /// Makes room for `total` tokens.
  func reserve(_ total: Int) {
    guard total > capacity else { return }
    let old = capacity
    capacity = max(total, old * 2)
    keys = keys.map { grown($0, from: old) }
    values = values.map { grown($0, from: old) }
  }

  private func grown(_ buffer: RawBuffer, from old: Int) -> RawBuffer {
    let row = kind.bytes(width)
    let larger = RawBuffer(count: heads * capacity * row)
    for head in 0..<heads {
      unsafe UnsafeMutableRawBufferPointer(rebasing: larger.bytes[(head * capacity * row)...])
        .copyMemory(
          from: UnsafeRawBufferPointer(rebasing: buffer.bytes[head * old * row..<(head * old + count) * row]))
    }
    return larger
  }

  /// The keys of one head at `positions`: positions × width.
  func keys(layer: Int, head: Int, _ positions: Range<Int>) -> Weight.View {
    view(keys[layer], head, positions)
  }

  /// The values of one head at `positions`: positions × width.
  func values(layer: Int, head: Int, _ positions: Range<Int>) -> Weight.View {
    view(values[layer], head, positions)
  }

  private func view(_ buffer: RawBuffer, _ head: Int, _ positions: Range<Int>) -> Weight.View {
    unsafe Weight.View(
      base: place(buffer, head, positions.lowerBound), kind: kind, rows: positions.count, columns: width)
  }

  @unsafe private func place(_ buffer: RawBuffer, _ head: Int, _ position: Int) -> UnsafeMutableRawPointer {
    unsafe buffer.bytes.baseAddress.unsafelyUnwrapped + (head * capacity + position) * kind.bytes(width)
  }

  /// Writes the keys and values of every head for positions from `position` on: rows of heads · width floats.
  func write(layer: Int, from position: Int, keys newKeys: Rows, values newValues: Rows) {
    write(newKeys, to: keys[layer], position)
    write(newValues, to: values[layer], position)
  }

  private func write(_ rows: Rows, to buffer: RawBuffer, _ position: Int) {
    for head in 0..<heads {
      for row in 0..<rows.count {
        let from = unsafe rows.row(row) + head * width
        let to = unsafe place(buffer, head, position + row)
        switch precision {
        case .f32: unsafe to.copyMemory(from: from, byteCount: width * 4)
        case .f16: unsafe lmoe_to_f16(from, width, to.assumingMemoryBound(to: UInt16.self))
        }
      }
    }
  }

  /// Forgets all tokens from `count` on.
  public func truncate(to count: Int) { self.count = min(self.count, max(0, count)) }
}
