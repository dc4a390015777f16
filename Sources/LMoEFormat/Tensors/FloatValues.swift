private import CLMoEKernels

/// Raw bytes of a float tensor, of any float dtype, read as numbers.
public struct FloatValues: Sendable {
  private let kind: Int32
  private let elementBytes: Int

  /// Reads values of `dtype`; nil if it is not F64, F32, F16 or BF16.
  public init?(_ dtype: DType) {
    switch dtype {
    case .f64: (kind, elementBytes) = (Int32(LMOE_F64), 8)
    case .f32: (kind, elementBytes) = (Int32(LMOE_F32), 4)
    case .f16: (kind, elementBytes) = (Int32(LMOE_F16), 2)
    case .bf16: (kind, elementBytes) = (Int32(LMOE_BF16), 2)
    default: return nil
    }
  }

  /// The sum of the squares of the values; `isFinite` says whether none is an infinity or a NaN.
  @unsafe public func sumOfSquares(_ bytes: UnsafeRawBufferPointer) -> (sum: Double, isFinite: Bool) {
    guard let base = bytes.baseAddress else { return (0, true) }
    var isFinite: Int32 = 1
    let sum = unsafe lmoe_sum_squares(base, bytes.count / elementBytes, kind, &isFinite)
    return (sum, isFinite != 0)
  }

  /// The index of the first value that is an infinity or a NaN; nil if there is none.
  @unsafe public func firstNonFinite(_ bytes: UnsafeRawBufferPointer) -> Int? {
    guard let base = bytes.baseAddress else { return nil }
    let count = bytes.count / elementBytes
    let index = unsafe lmoe_first_nonfinite(base, count, kind)
    return index < count ? index : nil
  }

  /// Converts to float32; an F64 is rounded.
  @unsafe public func convert(_ bytes: UnsafeRawBufferPointer, to floats: UnsafeMutableBufferPointer<Float>) {
    guard let base = bytes.baseAddress, let out = floats.baseAddress else { return }
    unsafe lmoe_to_f32(base, min(bytes.count / elementBytes, floats.count), kind, out)
  }
}

/// ‖B·A‖²_F without the product: tr((BᵀB)(AAᵀ)), from factors of float32.
///
/// - Parameters:
///   - a: rank × input, by rows.
///   - b: output × rank, by rows.
public func squaredNormOfProduct(b: [Float], a: [Float], rank: Int) -> Double {
  guard rank > 0, a.count >= rank, b.count >= rank else { return 0 }
  return zip(gramOfColumns(b, count: rank), gramOfRows(a, count: rank)).reduce(0) { $0 + $1.0 * $1.1 }
}

/// BᵀB (count × count) of a matrix of `count` columns, given by rows; summed in double precision.
public func gramOfColumns(_ matrix: [Float], count: Int) -> [Double] {
  guard count > 0 else { return [] }
  var columns = [Float](repeating: 0, count: matrix.count / count * count)
  unsafe matrix.withUnsafeBufferPointer { matrix in
    unsafe columns.withUnsafeMutableBufferPointer { columns in
      if let from = matrix.baseAddress, let to = columns.baseAddress {
        unsafe lmoe_transpose(from, columns.count / count, count, to)
      }
    }
  }
  return gramOfRows(columns, count: count)
}

/// AAᵀ (count × count) of a matrix of `count` rows; summed in double precision.
public func gramOfRows(_ matrix: [Float], count: Int) -> [Double] {
  guard count > 0 else { return [] }
  var result = [Double](repeating: 0, count: count * count)
  unsafe matrix.withUnsafeBufferPointer { rows in
    unsafe result.withUnsafeMutableBufferPointer { result in
      if let from = rows.baseAddress, let to = result.baseAddress {
        unsafe lmoe_gram(from, count, rows.count / count, to)
      }
    }
  }
  return result
}
