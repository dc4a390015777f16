private import CLMoEKernels
import LMoECore

/// The values of a tensor as floats of another type: quantized blocks decoded, floats rounded to nearest even.
public struct CastSource: ByteSource {
  private let input: any ByteSource
  private let inputType: TensorType
  private let reader: FloatValues
  private let cast: FloatCast

  /// Gives a tensor of `type` as `dtype`; nil if nobody reads the one or it is not F32, F16 or BF16.
  public init?(_ input: any ByteSource, _ type: TensorType, as dtype: DType) {
    guard let reader = FloatValues(type), let cast = FloatCast(dtype) else { return nil }
    (self.input, inputType, self.reader, self.cast) = (input, type, reader, cast)
  }

  /// Decodes a part.
  @unsafe public func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(FormatError) {
    let width = cast.elementBytes
    let start = Int(offset)
    let elements = start / width..<(start + buffer.count + width - 1) / width
    let units =
      elements.lowerBound / reader.unitElements..<(elements.upperBound + reader.unitElements - 1)
      / reader.unitElements
    let place = units.lowerBound * reader.unitBytes
    let raw = RawBuffer(count: units.count * reader.unitBytes)
    let bytes = unsafe raw.prefix(units.count * reader.unitBytes)
    try unsafe input.read(into: bytes, at: UInt64(place))
    let floats = RawBuffer(count: 4 * elements.count)
    let values = unsafe floats.prefix(4 * elements.count).bindMemory(to: Float.self)
    unsafe reader.convert(
      UnsafeRawBufferPointer(bytes), at: place,
      skipping: elements.lowerBound - units.lowerBound * reader.unitElements, to: values)
    unsafe cast.write(
      UnsafeBufferPointer(values), to: buffer, skipping: start - elements.lowerBound * width)
  }
}

/// Float32 values as the bytes of another float type, rounded to nearest even.
public struct FloatCast: Sendable {
  private let dtype: DType
  /// Bytes of an element.
  public let elementBytes: Int

  /// Casts to F32, F16 or BF16; nil for others.
  public init?(_ dtype: DType) {
    guard [.f32, .f16, .bf16].contains(dtype), let bytes = dtype.elementBytes else { return nil }
    (self.dtype, elementBytes) = (dtype, bytes)
  }

  /// Writes as many bytes as there is room for, from byte `skipped` of the result on.
  @unsafe public func write(
    _ values: UnsafeBufferPointer<Float>, to buffer: UnsafeMutableRawBufferPointer, skipping skipped: Int = 0
  ) {
    let result = RawBuffer(count: values.count * elementBytes)
    guard let from = values.baseAddress, let to = unsafe result.bytes.baseAddress else { return }
    switch dtype {
    case .f16:
      unsafe lmoe_to_f16(from, values.count, to.assumingMemoryBound(to: UInt16.self))
    case .bf16:
      let out = unsafe to.assumingMemoryBound(to: UInt16.self)
      for index in 0..<values.count { unsafe out[index] = Self.bfloat16(from[index]) }
    default:
      unsafe to.copyMemory(from: from, byteCount: 4 * values.count)
    }
    let count = min(buffer.count, values.count * elementBytes - skipped)
    guard count > 0 else { return }
    unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
      .copyMemory(from: UnsafeRawBufferPointer(rebasing: result.bytes[skipped..<skipped + count]))
  }

  private static func bfloat16(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    // A NaN must not round to an infinity.
    if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
  }
}
