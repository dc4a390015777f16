private import CLMoEKernels

/// Raw bytes of a tensor of numbers, floats of any dtype or quantized blocks, read as float32.
public struct FloatValues: Sendable {
  /// The kernels' name for a float type, or the scheme of blocks.
  private let kind: Int32
  /// The bytes that are read together: an element, or a block.
  public let unitBytes: Int
  /// The elements in them.
  public let unitElements: Int
  /// All elements of the tensor: its last block may be partly used.
  private let elementCount: Int

  private var isBlocks: Bool { kind >= 0 }

  /// Reads values of `dtype`; nil if it is not F64, F32, F16 or BF16.
  public init?(_ dtype: DType) {
    switch dtype {
    case .f64: (kind, unitBytes) = (Int32(LMOE_F64), 8)
    case .f32: (kind, unitBytes) = (Int32(LMOE_F32), 4)
    case .f16: (kind, unitBytes) = (Int32(LMOE_F16), 2)
    case .bf16: (kind, unitBytes) = (Int32(LMOE_BF16), 2)
    default: return nil
    }
    (unitElements, elementCount) = (1, .max)
  }

  /// Reads values of a tensor; nil if they are neither floats nor blocks of a scheme that is known.
  public init?(_ type: TensorType) {
    if let geometry = type.geometry {
      guard let scheme = geometry.decodable else { return nil }
      self.init(scheme, geometry, elementCount: type.elementCount)
    } else {
      self.init(type.dtype)
    }
  }

  private init(_ scheme: BlockScheme, _ geometry: BlockGeometry, elementCount: Int) {
    kind = Int32(scheme.rawValue)
    (unitBytes, unitElements) = (Int(geometry.blockBytes), Int(geometry.blockElements))
    self.elementCount = elementCount
  }

  /// The number of elements in so many bytes from `offset` on; both are multiples of `unitBytes`.
  public func count(of bytes: Int, at offset: Int = 0) -> Int {
    min(bytes / unitBytes * unitElements, elementCount - offset / unitBytes * unitElements)
  }

  /// The sum of the squares of the values; `isFinite` says whether none is an infinity or a NaN.
  ///
  /// - Parameters:
  ///   - bytes: Whole elements or blocks.
  ///   - offset: Where in the tensor they are.
  @unsafe public func sumOfSquares(
    _ bytes: UnsafeRawBufferPointer, at offset: Int = 0
  ) -> (sum: Double, isFinite: Bool) {
    var (sum, isFinite) = (0.0, true)
    unsafe forEachRun(bytes, at: offset) { values, count, kind in
      var isRunFinite: Int32 = 1
      sum += unsafe lmoe_sum_squares(values, count, kind, &isRunFinite)
      isFinite = isFinite && isRunFinite != 0
      return true
    }
    return (sum, isFinite)
  }

  /// The index of the first value that is an infinity or a NaN; nil if there is none.
  @unsafe public func firstNonFinite(_ bytes: UnsafeRawBufferPointer, at offset: Int = 0) -> Int? {
    var (start, found) = (0, Int?.none)
    unsafe forEachRun(bytes, at: offset) { values, count, kind in
      let index = unsafe lmoe_first_nonfinite(values, count, kind)
      if index < count { found = start + index }
      start += count
      return found == nil
    }
    return found
  }

  /// Converts to float32; an F64 is rounded.
  ///
  /// - Parameters:
  ///   - bytes: Whole elements or blocks.
  ///   - offset: Where in the tensor they are.
  ///   - skipped: Elements at their beginning to leave out.
  ///   - floats: Takes the values, as many as there are and fit.
  @unsafe public func convert(
    _ bytes: UnsafeRawBufferPointer, at offset: Int = 0, skipping skipped: Int = 0,
    to floats: UnsafeMutableBufferPointer<Float>
  ) {
    guard let base = bytes.baseAddress, let out = floats.baseAddress else { return }
    let count = min(count(of: bytes.count, at: offset) - skipped, floats.count)
    guard count > 0 else { return }
    if isBlocks {
      unsafe lmoe_dequantize(kind, unitElements, base, skipped, count, out)
    } else {
      unsafe lmoe_to_f32(base + skipped * unitBytes, count, kind, out)
    }
  }

  /// Hands on floats as they are, and blocks run by run as float32, until `body` returns false.
  @unsafe private func forEachRun(
    _ bytes: UnsafeRawBufferPointer, at offset: Int, _ body: (UnsafeRawPointer, Int, Int32) -> Bool
  ) {
    guard let base = bytes.baseAddress else { return }
    let total = count(of: bytes.count, at: offset)
    guard isBlocks else {
      _ = unsafe body(base, total, kind)
      return
    }
    unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: 4096) { run in
      guard let floats = run.baseAddress else { return }
      for start in stride(from: 0, to: total, by: run.count) {
        let count = min(run.count, total - start)
        unsafe lmoe_dequantize(kind, unitElements, base, start, count, floats)
        guard unsafe body(floats, count, Int32(LMOE_F32)) else { return }
      }
    }
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
