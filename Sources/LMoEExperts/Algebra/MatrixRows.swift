private import CLMoEKernels
import LMoECore

/// A matrix of float32 that is seen some rows at a time; one worker uses it.
protocol MatrixRows: AnyObject {
  var rows: Int { get }
  var columns: Int { get }
  /// Some of the rows, valid until the next call.
  @unsafe func values(of range: Range<Int>) -> UnsafeMutablePointer<Float>
  /// Writes some of the rows.
  @unsafe func write(_ range: Range<Int>, to out: UnsafeMutablePointer<Float>)
}

extension MatrixRows {
  /// Copies them.
  @unsafe func write(_ range: Range<Int>, to out: UnsafeMutablePointer<Float>) {
    unsafe out.update(from: values(of: range), count: range.count * columns)
  }

  /// Rows that fit a cache: about a megabyte of them.
  var height: Int { max(1, min(rows, 262_144 / max(1, columns))) }

  /// Calls `body` for all rows in order.
  @unsafe func forEachTile(_ body: (Range<Int>, UnsafeMutablePointer<Float>) -> Void) {
    for start in stride(from: 0, to: rows, by: height) {
      let range = start..<min(start + height, rows)
      unsafe body(range, values(of: range))
    }
  }

  /// ‖·‖²_F.
  var squaredNorm: Double {
    var sum = 0.0
    unsafe forEachTile { range, values in
      var isFinite: Int32 = 1
      sum += unsafe lmoe_sum_squares(values, range.count * columns, Int32(LMOE_F32), &isFinite)
    }
    return sum
  }
}

/// A matrix in memory.
final class ResidentRows: MatrixRows {
  let rows: Int
  let columns: Int
  private let buffer: FloatBuffer

  /// Takes all rows of another.
  init(_ other: any MatrixRows) {
    (rows, columns) = (other.rows, other.columns)
    buffer = FloatBuffer(rows * columns)
    let height = other.height
    for start in stride(from: 0, to: rows, by: height) {
      let range = start..<min(start + height, rows)
      unsafe other.write(range, to: values(of: range))
    }
  }

  @unsafe func values(of range: Range<Int>) -> UnsafeMutablePointer<Float> {
    unsafe buffer.floats + range.lowerBound * columns
  }
}
