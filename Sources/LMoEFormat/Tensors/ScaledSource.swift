import LMoECore

/// The values of a tensor times a factor, as floats of another type.
public struct ScaledSource: ByteSource {
  private let input: CastSource
  private let cast: FloatCast
  private let factor: Double

  /// Gives a tensor of `type` times `factor` as `dtype`; nil if nobody reads the one or it is not F32, F16 or
  /// BF16.
  ///
  /// The product is made in double precision and rounded to float32 first.
  public init?(_ input: any ByteSource, _ type: TensorType, times factor: Double, as dtype: DType) {
    guard let source = CastSource(input, type, as: .f32), let cast = FloatCast(dtype) else { return nil }
    (self.input, self.cast, self.factor) = (source, cast, factor)
  }

  /// Makes a part.
  @unsafe public func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(FormatError) {
    let width = cast.elementBytes
    let start = Int(offset)
    let elements = start / width..<(start + buffer.count + width - 1) / width
    let raw = RawBuffer(count: 4 * elements.count)
    let bytes = unsafe raw.prefix(4 * elements.count)
    try unsafe input.read(into: bytes, at: UInt64(4 * elements.lowerBound))
    let values = unsafe bytes.bindMemory(to: Float.self)
    for index in 0..<elements.count { unsafe values[index] = Float(factor * Double(values[index])) }
    unsafe cast.write(
      UnsafeBufferPointer(values), to: buffer, skipping: start - elements.lowerBound * width)
  }
}
