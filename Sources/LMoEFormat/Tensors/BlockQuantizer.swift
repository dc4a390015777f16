private import CLMoEKernels

/// The tables of NF4, constants of the format.
public enum NF4Constants {
  /// The sixteen values, ascending.
  public static let values = (0..<16).map { lmoe_nf4_value($0) }
  /// The 256 values of the map of its scales, ascending.
  public static let dynamic = (0..<256).map { lmoe_dynamic_value($0) }
}

/// Makes quantized blocks of float32 values.
public struct BlockQuantizer: Sendable {
  /// What the blocks are.
  public let scheme: BlockScheme
  /// Elements in a block.
  public let blockElements: Int
  /// Bytes of a block.
  public let blockBytes: Int

  /// Elements of NF4 under one scale.
  private static let run = 64

  /// Makes blocks of that geometry; nil if it is none of the registry's.
  public init?(_ geometry: BlockGeometry) {
    guard let scheme = geometry.decodable else { return nil }
    self.scheme = scheme
    (blockElements, blockBytes) = (Int(geometry.blockElements), Int(geometry.blockBytes))
  }

  /// Whether the blocks of a tensor share a number, `offset`, which has to be known before the first is made.
  public var needsOffset: Bool { scheme == .nf4 }

  /// Quantizes whole blocks; the last one of a tensor may have fewer elements where blocks run over all of it.
  ///
  /// - Parameters:
  ///   - values: Finite values.
  ///   - importance: How much each error counts, squared, for I4_GROUP; as many as values.
  ///   - offset: The tensor's offset, for NF4.
  ///   - blocks: Room for the blocks.
  /// - Returns: The first element of the first block whose values are too large for the scheme; nil if there is
  ///   none.
  @unsafe public func quantize(
    _ values: UnsafeBufferPointer<Float>, importance: UnsafePointer<Float>? = nil, offset: Float = 0,
    to blocks: UnsafeMutableRawBufferPointer
  ) -> Int? {
    guard let from = values.baseAddress, let to = blocks.baseAddress else { return nil }
    let count = min(values.count, blocks.count / blockBytes * blockElements)
    if scheme == .nf4 {
      for start in stride(from: 0, to: count, by: blockElements) {
        unsafe lmoe_quantize_nf4(
          from + start, min(blockElements, count - start), offset, to + start / blockElements * blockBytes)
      }
      return nil
    }
    let good = unsafe lmoe_quantize(Int32(scheme.rawValue), blockElements, from, importance, count, to)
    return good < count ? good : nil
  }

  /// Decodes blocks that it made, and compares them with the values they are of.
  ///
  /// - Parameters:
  ///   - blocks: The blocks.
  ///   - values: The values.
  ///   - scratch: Room for as many.
  /// - Returns: The largest difference, and the sums of the squares of differences and of values.
  @unsafe public func compare(
    _ blocks: UnsafeRawBufferPointer, with values: UnsafeBufferPointer<Float>,
    _ scratch: UnsafeMutableBufferPointer<Float>
  ) -> (largest: Double, differences: Double, squares: Double) {
    var sums = lmoe_difference()
    if let from = blocks.baseAddress, let wanted = values.baseAddress, let out = scratch.baseAddress {
      let count = min(values.count, scratch.count)
      unsafe lmoe_dequantize(Int32(scheme.rawValue), blockElements, from, 0, count, out)
      sums = unsafe lmoe_compare(wanted, out, count)
    }
    return (sums.largest, sums.differences, sums.squares)
  }

  /// The largest sizes of runs of a tensor's values, of which NF4's offset is the mean.
  ///
  /// - Parameter values: Values of the tensor from a whole run on.
  @unsafe public static func largestSizes(_ values: UnsafeBufferPointer<Float>) -> [Float] {
    let runs = (values.count + run - 1) / run
    return unsafe [Float](unsafeUninitializedCapacity: runs) { sizes, count in
      if let from = values.baseAddress, let to = sizes.baseAddress {
        unsafe lmoe_nf4_absmax(from, values.count, to)
      }
      count = runs
    }
  }

  /// NF4's offset of a tensor whose runs have these largest sizes.
  public static func offset(_ largestSizes: [Float]) -> Float {
    unsafe lmoe_nf4_offset(largestSizes, largestSizes.count)
  }
}
