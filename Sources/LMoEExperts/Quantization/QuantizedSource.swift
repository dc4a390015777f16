import LMoECore
import LMoEFormat

/// The bytes of a tensor as quantized blocks: each part is made when it is read, from what another source has.
struct QuantizedSource: ByteSource {
  /// The tensor's name, for errors.
  let name: String
  /// The original.
  let input: any ByteSource
  let inputType: TensorType
  let reader: FloatValues
  /// What it becomes.
  let type: TensorType
  let quantizer: BlockQuantizer
  /// NF4's offset.
  var offset: Float = 0
  /// How much an error in each column counts, squared.
  var importance: [Float]?
  let meter = ErrorMeter()
  let work: QuantizationWork

  /// Elements that are worked on at a time, or a few more: whole units of both sides.
  private static let window = 1 << 16

  /// nil if nobody reads the one or makes the other.
  init?(
    _ name: String, _ input: any ByteSource, _ inputType: TensorType, as type: TensorType,
    _ work: QuantizationWork
  ) {
    guard let reader = FloatValues(inputType), let geometry = type.geometry,
      let quantizer = BlockQuantizer(geometry)
    else { return nil }
    (self.name, self.input, self.inputType, self.reader) = (name, input, inputType, reader)
    (self.type, self.quantizer, self.work) = (type, quantizer, work)
  }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    let (size, length) = (quantizer.blockBytes, quantizer.blockElements)
    let start = Int(offset)
    let blocks = start / size..<(start + buffer.count + size - 1) / size
    let scratch = work.borrow()
    defer { work.giveBack(scratch) }
    let elements = blocks.lowerBound * length..<min(blocks.upperBound * length, type.elementCount)
    let (raw, place) = try unsafe original(elements, scratch)
    var error = QuantizationError()
    let step = max(1, Self.window / length) * length
    for first in stride(from: elements.lowerBound, to: elements.upperBound, by: step) {
      let part = first..<min(first + step, elements.upperBound)
      let values = unsafe scratch.values(part.count)
      unsafe convert(part, UnsafeRawBufferPointer(raw), at: place, to: values)
      let made = unsafe scratch.blocks((part.count + length - 1) / length * size)
      try unsafe quantize(part, UnsafeBufferPointer(values), to: made, scratch)
      error.add(
        unsafe quantizer.compare(
          UnsafeRawBufferPointer(made), with: UnsafeBufferPointer(values), scratch.others(part.count)),
        count: part.count)
      unsafe copy(made, at: first / length * size, to: buffer, at: start)
    }
    meter.made(buffer.count, at: start, error)
  }

  /// The raw bytes of the original that have `elements`, and where in it they begin.
  @unsafe private func original(
    _ elements: Range<Int>, _ scratch: QuantizationScratch
  ) throws(FormatError) -> (bytes: UnsafeMutableRawBufferPointer, place: Int) {
    let start = elements.lowerBound / reader.unitElements * reader.unitBytes
    let end = (elements.upperBound + reader.unitElements - 1) / reader.unitElements * reader.unitBytes
    let raw = unsafe scratch.original(end - start)
    try unsafe input.read(into: raw, at: UInt64(start))
    return unsafe (raw, start)
  }

  /// Decodes the elements `part` from raw bytes that begin at `place`.
  @unsafe private func convert(
    _ part: Range<Int>, _ raw: UnsafeRawBufferPointer, at place: Int,
    to values: UnsafeMutableBufferPointer<Float>
  ) {
    let unit = part.lowerBound / reader.unitElements
    let start = unit * reader.unitBytes
    unsafe reader.convert(
      UnsafeRawBufferPointer(rebasing: raw[(start - place)...]), at: start,
      skipping: part.lowerBound - unit * reader.unitElements, to: values)
  }

  @unsafe private func quantize(
    _ part: Range<Int>, _ values: UnsafeBufferPointer<Float>, to blocks: UnsafeMutableRawBufferPointer,
    _ scratch: QuantizationScratch
  ) throws(FormatError) {
    if let bad = unsafe work.floats.firstNonFinite(UnsafeRawBufferPointer(values)) {
      throw work.failure(.nonFinite, name, found: "\(part.lowerBound + bad)")
    }
    var large: Int?
    if let importance, let columns = type.shape.last, !importance.isEmpty {
      let weights = unsafe scratch.others(part.count)
      for index in part { unsafe weights[index - part.lowerBound] = importance[index % columns] }
      large = unsafe quantizer.quantize(values, importance: UnsafePointer(weights.baseAddress), to: blocks)
    } else {
      large = unsafe quantizer.quantize(values, offset: offset, to: blocks)
    }
    if let large { throw work.failure(.notQuantizable, name, found: "\(part.lowerBound + large)") }
  }

  /// Copies what is wanted of the blocks that begin at `place` in the tensor.
  @unsafe private func copy(
    _ blocks: UnsafeMutableRawBufferPointer, at place: Int, to buffer: UnsafeMutableRawBufferPointer,
    at start: Int
  ) {
    let lower = max(place, start)
    let upper = min(place + blocks.count, start + buffer.count)
    guard lower < upper else { return }
    unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[lower - start..<upper - start])
      .copyMemory(from: UnsafeRawBufferPointer(rebasing: blocks[lower - place..<upper - place]))
  }

  /// The same with the offset that its scheme needs, if it needs one: all of the tensor is read for that.
  func withOffset() throws(FormatError) -> QuantizedSource {
    guard quantizer.needsOffset else { return self }
    let scratch = work.borrow()
    defer { work.giveBack(scratch) }
    var sizes: [Float] = []
    let step = 64 * Self.window
    for first in stride(from: 0, to: type.elementCount, by: step) {
      let part = first..<min(first + step, type.elementCount)
      let (raw, place) = try unsafe original(part, scratch)
      let values = unsafe scratch.values(part.count)
      unsafe convert(part, UnsafeRawBufferPointer(raw), at: place, to: values)
      sizes += unsafe BlockQuantizer.largestSizes(UnsafeBufferPointer(values))
    }
    var copy = self
    copy.offset = BlockQuantizer.offset(sizes)
    return copy
  }
}
