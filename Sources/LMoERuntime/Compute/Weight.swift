private import CLMoEKernels
import LMoECore
import LMoEFormat

/// A matrix or vector of weights as it is stored: floats or quantized blocks, in a map or decoded.
@safe struct Weight: @unchecked Sendable {
  /// The same without a reference to the memory: whoever makes one keeps the weight.
  @safe struct View: @unchecked Sendable {
    @unsafe let base: UnsafeRawPointer
    let kind: Kind
    let rows: Int
    let columns: Int
    /// Elements from one row to the next.
    let stride: Int
    /// The element at `base` that it begins with, where blocks know no rows.
    let first: Int

    @unsafe init(
      base: UnsafeRawPointer, kind: Kind, rows: Int, columns: Int, stride: Int? = nil, first: Int = 0
    ) {
      unsafe self.base = base
      (self.kind, self.rows, self.columns, self.stride) = (kind, rows, columns, stride ?? columns)
      self.first = first
    }

    /// Activations in the place of a weight.
    init(_ rows: Rows) {
      unsafe base = UnsafeRawPointer(rows.base)
      (kind, self.rows, columns, stride, first) = (.f32, rows.count, rows.width, rows.stride, 0)
    }

    /// Some of the rows of one whose rows have places of their own.
    subscript(range: Range<Int>) -> View {
      assert(kind.hasRows)
      return unsafe View(
        base: base + kind.bytes(range.lowerBound * stride), kind: kind, rows: range.count, columns: columns,
        stride: stride)
    }
  }

  /// How its numbers are stored.
  let kind: Kind
  /// Rows; 1 for a vector.
  let rows: Int
  /// Columns.
  let columns: Int
  @unsafe let base: UnsafeRawPointer
  /// The element at `base` that it begins with, where blocks know no rows; 0 otherwise.
  private let first: Int
  /// Keeps the memory.
  private let owner: AnyObject

  @unsafe init(
    _ base: UnsafeRawPointer, kind: Kind, rows: Int, columns: Int, first: Int = 0, owner: AnyObject
  ) {
    unsafe self.base = base
    (self.kind, self.rows, self.columns, self.first, self.owner) = (kind, rows, columns, first, owner)
  }

  /// A matrix of float32 in memory of its own, written by `fill`.
  static func made(rows: Int, columns: Int, _ fill: (Rows) -> Void) -> Weight {
    let owned = OwnedRows(rows, columns)
    fill(owned.rows)
    return unsafe Weight(owned.rows.base, kind: .f32, rows: rows, columns: columns, owner: owned)
  }

  /// A vector of float32 in memory of its own.
  static func vector(_ values: [Float]) -> Weight {
    made(rows: 1, columns: values.count) { out in
      for (index, value) in values.enumerated() { out[0, index] = value }
    }
  }

  /// The weight without a reference.
  var view: View { unsafe View(base: base, kind: kind, rows: rows, columns: columns, first: first) }

  /// Its elements for whoever made it to change: float32 in memory of its own (`made`).
  var mutableRows: Rows {
    assert(kind == .f32)
    return unsafe Rows(
      base: UnsafeMutableRawPointer(mutating: base).assumingMemoryBound(to: Float.self), count: rows,
      width: columns)
  }

  /// The number of elements.
  var count: Int { rows * columns }

  /// The bytes that it takes.
  var bytes: Int { kind.bytes(count) }

  /// Some of the rows.
  subscript(range: Range<Int>) -> Weight {
    let skipped = range.lowerBound * columns
    let (offset, first) = kind.hasRows ? (kind.bytes(skipped), 0) : (0, first + skipped)
    return unsafe Weight(
      base + offset, kind: kind, rows: range.count, columns: columns, first: first, owner: owner)
  }

  /// Writes a row as float32.
  @unsafe func copyRow(_ row: Int, to out: UnsafeMutablePointer<Float>) {
    unsafe copy(row * columns, columns, to: out)
  }

  /// Writes elements, counted row by row, as float32.
  @unsafe private func copy(_ start: Int, _ count: Int, to out: UnsafeMutablePointer<Float>) {
    switch kind {
    case .blocks(let blocks):
      unsafe lmoe_dequantize(kind.code, blocks.elements, base, first + start, count, out)
    default: unsafe lmoe_to_f32(base + kind.bytes(start), count, kind.code, out)
    }
  }

  /// One element as float32.
  func element(_ row: Int, _ column: Int) -> Float {
    var value: Float = 0
    unsafe copy(row * columns + column, 1, to: &value)
    return value
  }

  /// All elements as float32.
  var floats: [Float] {
    unsafe [Float](unsafeUninitializedCapacity: count) { buffer, written in
      if let out = buffer.baseAddress { unsafe copy(0, count, to: out) }
      written = count
    }
  }

  /// The same as floats: itself, or what its blocks stand for as float32 in memory of its own.
  var unquantized: Weight {
    guard kind.isBlocks else { return self }
    return Weight.made(rows: rows, columns: columns) { out in unsafe copy(0, count, to: out.base) }
  }

  /// The index of the first element that is an infinity or a NaN; nil if there is none.
  var firstNonFinite: Int? {
    guard kind.isBlocks else {
      let index = unsafe lmoe_first_nonfinite(base, count, kind.code)
      return index < count ? index : nil
    }
    return unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, columns)) { row -> Int? in
      guard let values = row.baseAddress else { return nil }
      for index in 0..<rows {
        unsafe copyRow(index, to: values)
        let place = unsafe lmoe_first_nonfinite(values, columns, Kind.f32.code)
        if place < columns { return index * columns + place }
      }
      return nil
    }
  }
}
