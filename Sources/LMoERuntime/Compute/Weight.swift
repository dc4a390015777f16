private import CLMoEKernels
import LMoECore
import LMoEFormat

/// A matrix or vector of weights as it is stored: float32, float16 or bfloat16, in a map or decoded.
@safe struct Weight: @unchecked Sendable {
  /// How a number is stored.
  enum Kind: Int32, Sendable {
    case f32
    case f16
    case bf16

    /// The kernels' name for it.
    var code: Int32 {
      switch self {
      case .f32: Int32(LMOE_F32)
      case .f16: Int32(LMOE_F16)
      case .bf16: Int32(LMOE_BF16)
      }
    }

    /// Bytes of a number.
    var bytes: Int { self == .f32 ? 4 : 2 }

    /// The kind of a dtype; nil if the kernels do not read it.
    init?(_ dtype: DType) {
      switch dtype {
      case .f32: self = .f32
      case .f16: self = .f16
      case .bf16: self = .bf16
      default: return nil
      }
    }
  }

  /// The same without a reference to the memory: whoever makes one keeps the weight.
  @safe struct View: @unchecked Sendable {
    @unsafe let base: UnsafeRawPointer
    let kind: Kind
    let rows: Int
    let columns: Int
    /// Elements from one row to the next.
    let stride: Int

    @unsafe init(base: UnsafeRawPointer, kind: Kind, rows: Int, columns: Int, stride: Int? = nil) {
      unsafe self.base = base
      (self.kind, self.rows, self.columns, self.stride) = (kind, rows, columns, stride ?? columns)
    }

    /// Activations in the place of a weight.
    init(_ rows: Rows) {
      unsafe base = UnsafeRawPointer(rows.base)
      (kind, self.rows, columns, stride) = (.f32, rows.count, rows.width, rows.stride)
    }
  }

  /// How its numbers are stored.
  let kind: Kind
  /// Rows; 1 for a vector.
  let rows: Int
  /// Columns.
  let columns: Int
  @unsafe let base: UnsafeRawPointer
  /// Keeps the memory.
  private let owner: AnyObject

  @unsafe init(_ base: UnsafeRawPointer, kind: Kind, rows: Int, columns: Int, owner: AnyObject) {
    unsafe self.base = base
    (self.kind, self.rows, self.columns, self.owner) = (kind, rows, columns, owner)
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
  var view: View { unsafe View(base: base, kind: kind, rows: rows, columns: columns) }

  /// Its elements for whoever made it to change: float32 in memory of its own (`made`).
  var mutableRows: Rows {
    assert(kind == .f32)
    return unsafe Rows(
      base: UnsafeMutableRawPointer(mutating: base).assumingMemoryBound(to: Float.self), count: rows,
      width: columns)
  }

  /// The number of elements.
  var count: Int { rows * columns }

  /// Some of the rows.
  subscript(range: Range<Int>) -> Weight {
    unsafe Weight(
      base + range.lowerBound * columns * kind.bytes, kind: kind, rows: range.count, columns: columns,
      owner: owner)
  }

  /// Writes a row as float32.
  @unsafe func copyRow(_ row: Int, to out: UnsafeMutablePointer<Float>) {
    unsafe lmoe_to_f32(base + row * columns * kind.bytes, columns, kind.code, out)
  }

  /// All elements as float32.
  var floats: [Float] {
    unsafe [Float](unsafeUninitializedCapacity: count) { buffer, written in
      if let out = buffer.baseAddress { unsafe lmoe_to_f32(base, count, kind.code, out) }
      written = count
    }
  }

  /// The index of the first element that is an infinity or a NaN; nil if there is none.
  var firstNonFinite: Int? {
    let index = unsafe lmoe_first_nonfinite(base, count, kind.code)
    return index < count ? index : nil
  }
}
