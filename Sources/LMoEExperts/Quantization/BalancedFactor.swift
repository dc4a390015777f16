import LMoECore
import LMoEFormat

/// One of the two factors of a linear layer as float32, rank by rank, balanced: row j of A and column j of B
/// multiplied with powers of two so that they are of about the same length.
///
/// Training leaves one of them far smaller than the other, and its scales would vanish in a half. A power of two
/// changes no value of the product.
struct BalancedFactor: ByteSource {
  /// Which one.
  enum Side: Sendable { case a, b }

  let side: Side
  let factors: StoredFactors
  let a: any ByteSource
  let b: any ByteSource
  private var isBalanced = true

  init(_ side: Side, _ factors: StoredFactors, in bundle: Bundle) {
    (self.side, self.factors) = (side, factors)
    (a, b) = (bundle.source(of: factors.a), bundle.source(of: factors.b))
  }

  /// Rank × inputs, or rank × outputs.
  var shape: [Int] { [factors.rank, side == .a ? factors.inputs : factors.outputs] }

  /// The same as it is, for where the other one stays as it is.
  var unbalanced: BalancedFactor {
    var copy = self
    copy.isBalanced = false
    return copy
  }

  /// The exponents by which rows of A grow and columns of B shrink: ½ log₂(‖b‖ / ‖a‖), rounded.
  static func exponents(a: [Float], transposedB b: [Float], rank: Int) -> [Int] {
    (0..<rank).map { row in
      let (lengthOfA, lengthOfB) = (length(a, row, of: rank), length(b, row, of: rank))
      guard lengthOfA > 0, lengthOfB > 0, lengthOfA.isFinite, lengthOfB.isFinite else { return 0 }
      var ratio = lengthOfB / lengthOfA
      var exponent = 0
      while ratio > 2, exponent < 100 { (ratio, exponent) = (ratio / 4, exponent + 1) }
      while ratio < 0.5, exponent > -100 { (ratio, exponent) = (ratio * 4, exponent - 1) }
      return exponent
    }
  }

  private static func length(_ matrix: [Float], _ row: Int, of rows: Int) -> Double {
    let width = matrix.count / rows
    return matrix[row * width..<(row + 1) * width].reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
  }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    let a = try self.a.floats(factors.a.type)
    let b = factors.transposedB(try self.b.floats(factors.b.type))
    let exponents = isBalanced ? Self.exponents(a: a, transposedB: b, rank: factors.rank) : []
    var values = side == .a ? a : b
    let width = values.count / factors.rank
    for (row, exponent) in exponents.enumerated() where exponent != 0 {
      let factor = Float(sign: .plus, exponent: side == .a ? exponent : -exponent, significand: 1)
      for index in row * width..<(row + 1) * width { values[index] *= factor }
    }
    let start = Int(offset)
    unsafe values.withUnsafeBytes { bytes in
      unsafe buffer.copyMemory(
        from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + buffer.count]))
    }
  }
}
