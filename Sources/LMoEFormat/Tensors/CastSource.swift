import LMoECore

/// A tensor of numbers read as another float dtype, perhaps times a factor.
public struct CastSource: ByteSource {
  private let source: any ByteSource
  private let type: TensorType
  private let values: FloatValues
  private let store: FloatStore
  private let factor: Double

  /// Units that are converted at a time.
  private static let window = 1 << 17

  /// Reads the tensor of the type `type` in `source` as values of `dtype`, each times `factor`.
  ///
  /// The product is made in double precision and rounded to float32 first.
  ///
  /// - Returns: nil if the tensor has no numbers that are known here, or `dtype` is not F32, F16 or BF16.
  public init?(_ source: any ByteSource, _ type: TensorType, as dtype: DType, times factor: Double = 1) {
    guard let values = FloatValues(type), let store = FloatStore(dtype) else { return nil }
    (self.source, self.type, self.values, self.store, self.factor) = (source, type, values, store, factor)
  }

  /// Converts a part; it begins and ends with whole values.
  @unsafe public func read(
    into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(FormatError) {
    let unit = values.unitElements
    let first = Int(offset) / store.width
    let end = first + buffer.count / store.width
    let (start, stop) = (first / unit, (end + unit - 1) / unit)
    let step = max(1, Self.window / unit)
    let room = min(step, max(stop - start, 1))
    let raw = RawBuffer(count: room * values.unitBytes)
    let floats = RawBuffer(count: room * unit * 4)
    for next in stride(from: start, to: stop, by: step) {
      let count = min(step, stop - next)
      let part = unsafe raw.prefix(count * values.unitBytes)
      try unsafe source.read(into: part, at: UInt64(next * values.unitBytes))
      let converted = unsafe floats.bytes.bindMemory(to: Float.self)
      unsafe values.convert(
        UnsafeRawBufferPointer(part), at: next * values.unitBytes, to: converted)
      let (low, high) = (max(first, next * unit), min(end, (next + count) * unit))
      let wanted = unsafe UnsafeMutableBufferPointer(
        rebasing: converted[low - next * unit..<high - next * unit])
      if factor != 1 {
        for index in wanted.indices {
          unsafe wanted[index] = Float(factor * Double(wanted[index]))
        }
      }
      unsafe store.store(
        UnsafeBufferPointer(wanted),
        to: UnsafeMutableRawBufferPointer(
          rebasing: buffer[(low - first) * store.width..<(high - first) * store.width]))
    }
  }
}
