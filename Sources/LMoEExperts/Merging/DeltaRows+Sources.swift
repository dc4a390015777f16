private import CLMoEKernels
import LMoECore

/// The delta of one expert.
final class TermRows: MatrixRows {
  private let deltas: DeltaRows
  private let index: Int
  private let tile: FloatBuffer
  let rows: Int
  let columns: Int

  init(_ module: LoadedModule, _ index: Int) {
    deltas = DeltaRows(module)
    self.index = index
    (rows, columns) = (module.rows, module.columns)
    tile = FloatBuffer(DeltaRows.height(columns: columns, rows: rows) * columns)
  }

  @unsafe func values(of range: Range<Int>) -> UnsafeMutablePointer<Float> {
    unsafe deltas.compute(index, range, into: tile.floats)
    return unsafe tile.floats
  }

  @unsafe func write(_ range: Range<Int>, to out: UnsafeMutablePointer<Float>) {
    unsafe deltas.compute(index, range, into: out)
  }
}

/// A weighted sum of the deltas, magnitudes included.
final class SummedRows: MatrixRows {
  private let deltas: DeltaRows
  private let coefficients: [Double]
  private let tile: FloatBuffer
  let rows: Int
  let columns: Int

  init(_ module: LoadedModule, _ coefficients: [Double]) {
    deltas = DeltaRows(module)
    self.coefficients = coefficients
    (rows, columns) = (module.rows, module.columns)
    tile = FloatBuffer(DeltaRows.height(columns: columns, rows: rows) * columns)
  }

  @unsafe func values(of range: Range<Int>) -> UnsafeMutablePointer<Float> {
    for (index, coefficient) in coefficients.enumerated() {
      unsafe deltas.compute(index, range, into: tile.floats, factor: coefficient, accumulates: index > 0)
    }
    return unsafe tile.floats
  }
}
