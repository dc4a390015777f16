private import CLMoEKernels
import LMoECore

/// Rows of deltas as they would be written out, computed when they are asked for: a delta of a large model is never
/// whole in memory.
///
/// One worker uses it.
final class DeltaRows {
  private let module: LoadedModule
  private let scratch: RawBuffer
  /// B times its scaling, for the rows in hand.
  private var left: [Float] = []
  /// c = m / ‖W + s·B·A‖ of embeddings with magnitudes, one a column.
  private var columnScales: [Int: [Float]] = [:]

  init(_ module: LoadedModule) {
    self.module = module
    scratch = RawBuffer(count: lmoe_gemm_scratch(1 << 24) * 4)
  }

  /// Rows that fit a cache: about a megabyte of them.
  static func height(columns: Int, rows: Int) -> Int { max(1, min(rows, 262_144 / max(1, columns))) }

  /// Adds `factor` times rows of a term's delta to `out`, or writes them.
  @unsafe func compute(
    _ index: Int, _ rows: Range<Int>, into out: UnsafeMutablePointer<Float>, factor: Double = 1,
    accumulates: Bool = false
  ) {
    let term = module.terms[index]
    guard term.magnitude != nil else {
      return unsafe multiply(term, rows, factor: factor, into: out, accumulates: accumulates)
    }
    guard accumulates || factor != 1 else { return unsafe rescale(index, rows, into: out) }
    var own = [Float](repeating: 0, count: rows.count * module.columns)
    let count = own.count
    unsafe own.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      unsafe rescale(index, rows, into: base)
      if !accumulates { for place in 0..<count { unsafe out[place] = 0 } }
      unsafe lmoe_add_scaled(out, base, Float(factor), count)
    }
  }

  /// s·B·A.
  @unsafe private func multiply(
    _ term: LoadedModule.Term, _ rows: Range<Int>, factor: Double, into out: UnsafeMutablePointer<Float>,
    accumulates: Bool
  ) {
    let rank = term.product.rank
    let scale = term.scaling * factor
    left = term.product.b[rows.lowerBound * rank..<rows.upperBound * rank].map { Float(Double($0) * scale) }
    unsafe left.withUnsafeBufferPointer { left in
      unsafe term.product.a.withUnsafeBufferPointer { a in
        var kernel = unsafe lmoe_term(
          x: left.baseAddress, x_stride: rank, weight: UnsafeRawPointer(a.baseAddress),
          weight_stride: module.columns, kind: Int32(LMOE_F32), is_transposed: 0, depth: rank, block: 0,
          weight_first: 0, x_integers: nil)
        unsafe lmoe_gemm(
          rows.count, &kernel, 1, 0, module.columns, out, module.columns, accumulates ? 1 : 0,
          scratch.bytes.assumingMemoryBound(to: Float.self).baseAddress)
      }
    }
  }

  /// c ⊙ (W + s·B·A) − W for DoRA, c = m / ‖W + s·B·A‖.
  @unsafe private func rescale(_ index: Int, _ rows: Range<Int>, into out: UnsafeMutablePointer<Float>) {
    guard let base = module.base, let magnitude = module.terms[index].magnitude else { return }
    unsafe multiply(module.terms[index], rows, factor: 1, into: out, accumulates: false)
    let width = module.columns
    if module.isEmbedding {
      let scales = scales(of: index, base, magnitude)
      for row in rows {
        for column in 0..<width {
          let place = (row - rows.lowerBound) * width + column
          let weight = base[row * width + column]
          unsafe out[place] = (scales[column] - 1) * weight + scales[column] * out[place]
        }
      }
      return
    }
    for row in rows {
      let start = (row - rows.lowerBound) * width
      var sum = 0.0
      for column in 0..<width {
        let value = unsafe Double(base[row * width + column]) + Double(out[start + column])
        sum += value * value
      }
      let norm = sum.squareRoot()
      // c is almost 1: its difference from it is taken before it is rounded.
      let scale = norm > 0 ? Float((Double(magnitude[row]) - norm) / norm) : 0
      for column in 0..<width {
        unsafe out[start + column] += scale * (base[row * width + column] + out[start + column])
      }
    }
  }

  /// The column scales of an embedding, whose norms are over all tokens.
  private func scales(of index: Int, _ base: [Float], _ magnitude: [Float]) -> [Float] {
    if let known = columnScales[index] { return known }
    let width = module.columns
    var sums = [Double](repeating: 0, count: width)
    let height = Self.height(columns: width, rows: module.rows)
    var tile = [Float](repeating: 0, count: height * width)
    for start in stride(from: 0, to: module.rows, by: height) {
      let rows = start..<min(start + height, module.rows)
      unsafe tile.withUnsafeMutableBufferPointer { buffer in
        if let out = buffer.baseAddress {
          unsafe multiply(module.terms[index], rows, factor: 1, into: out, accumulates: false)
        }
      }
      for row in rows {
        for column in 0..<width {
          let value = Double(base[row * width + column]) + Double(tile[(row - start) * width + column])
          sums[column] += value * value
        }
      }
    }
    let scales = zip(magnitude, sums).map { $1 > 0 ? Float(Double($0) / $1.squareRoot()) : 1 }
    columnScales[index] = scales
    return scales
  }
}
