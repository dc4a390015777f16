private import CLMoEKernels
import LMoECore

extension ChunkCoder {
  /// How one chunk is to be stored.
  ///
  /// `bytes` lie in the coder's buffers, or are the raw bytes themselves.
  @safe struct Encoded {
    let codec: Codec
    let filter: Filter
    let planes: Int
    let bytes: UnsafeRawBufferPointer
  }

  /// Encodes a document's chunk with zstd where that is smaller.
  @unsafe func encodeDocument(_ source: UnsafeRawBufferPointer) -> Encoded {
    let limit = max(source.count - 1, 0)
    if let length = unsafe zstd.compress(source, into: output.prefix(limit), .level(9)) {
      return unsafe Encoded(
        codec: .zstd, filter: .none, planes: 0, bytes: UnsafeRawBufferPointer(output.prefix(length)))
    }
    return unsafe Encoded(codec: .raw, filter: .none, planes: 0, bytes: source)
  }

  /// Encodes a tensor's chunk as planes where that is smaller.
  @unsafe func encodeTensor(_ source: UnsafeRawBufferPointer, of type: TensorType) -> Encoded {
    let raw = unsafe Encoded(codec: .raw, filter: .none, planes: 0, bytes: source)
    guard let elements = unsafe source.baseAddress?.assumingMemoryBound(to: UInt8.self),
      source.count >= 64
    else { return raw }
    let filter: Filter =
      type.geometry != nil ? .structSplit : type.dtype.rotatesSign ? .rotateSplit : .split
    let lengths = Self.planeLengths(filter, of: type, rawLength: source.count)
    let count = lengths.count
    guard let split = unsafe planes.bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return raw }
    if let geometry = type.geometry {
      let block = Int(geometry.blockBytes)
      var (field, plane) = (0, 0)
      for (width, length) in zip(geometry.fields, lengths) {
        unsafe lmoe_field_gather(
          elements + field, block, Int(width), source.count / block, split + plane)
        field += Int(width)
        plane += length
      }
    } else {
      unsafe lmoe_planes_split(
        elements, split, lengths[0], Int32(count), filter == .rotateSplit ? 1 : 0)
    }

    var position = 5 * count
    var start = 0
    for (index, length) in lengths.enumerated() {
      let plane = unsafe UnsafeRawBufferPointer(start: split + start, count: length)
      start += length
      let room = source.count - position
      guard room > 0 else { return raw }
      let target = unsafe UnsafeMutableRawBufferPointer(
        rebasing: output.bytes[position..<position + room])
      guard let (mode, written) = unsafe encodePlane(plane, into: target) else { return raw }
      unsafe output.bytes.storeBytes(
        of: UInt32(written).littleEndian, toByteOffset: 4 * index, as: UInt32.self)
      unsafe output.bytes[4 * count + index] = mode
      position += written
    }
    guard position < source.count else { return raw }
    return unsafe Encoded(
      codec: .planes, filter: filter, planes: count,
      bytes: UnsafeRawBufferPointer(output.prefix(position)))
  }

  /// Writes one plane's payload; nil if it does not fit.
  private func encodePlane(
    _ plane: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
  ) -> (mode: UInt8, length: Int)? {
    let character = unsafe PlaneCharacter(sampling: plane)
    if character.isConstant {
      unsafe target[0] = plane[0]
      return (2, 1)
    }
    if character.isCompressible {
      // Worth it only from 3 % on: below that decoding costs more than the bytes save.
      let limit = min(plane.count * 97 / 100, target.count)
      let room = unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<limit])
      if character.isNearlyConstant {
        // Long runs: matches pay. Try both and keep the smaller.
        let huffman = unsafe zstd.compress(plane, into: room, .huffmanOnly)
        if let matched = unsafe zstd.compress(plane, into: room, .level(3)),
          matched < huffman ?? .max
        {
          return (1, matched)
        }
      }
      if let written = unsafe zstd.compress(plane, into: room, .huffmanOnly) { return (1, written) }
    }
    guard plane.count <= target.count else { return nil }
    unsafe target.copyMemory(from: plane)
    return (0, plane.count)
  }
}

/// What a sample of a plane says about how to store it.
struct PlaneCharacter {
  private(set) var isConstant = false
  private(set) var isCompressible = true
  private(set) var isNearlyConstant = false

  /// Looks at 16 runs of 256 bytes.
  ///
  /// The estimate is the probability that two bytes are equal, 1/256 for noise: at 4,096 samples its standard
  /// deviation is 0.6 % of that, so 6 % above is ten deviations, while a plane worth compressing (3 % or more)
  /// lies a third above.
  @unsafe init(sampling plane: UnsafeRawBufferPointer) {
    guard let bytes = unsafe plane.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
      isCompressible = false
      return
    }
    let count = plane.count
    var counts = [UInt32](repeating: 0, count: 256)
    var samples = 0
    if count <= 4096 {
      unsafe lmoe_histogram(bytes, count, &counts)
      samples = count
    } else {
      for run in 0..<16 {
        unsafe lmoe_histogram(bytes + (count - 256) / 15 * run, 256, &counts)
        samples += 256
      }
    }
    let largest = Int(counts.max() ?? 0)
    if largest == samples {
      // All samples equal: look at all of it, shifted against itself.
      let first = unsafe UnsafeRawBufferPointer(rebasing: plane[..<(count - 1)])
      let second = unsafe UnsafeRawBufferPointer(rebasing: plane[1...])
      isConstant = unsafe first.elementsEqualBytes(of: second)
      isNearlyConstant = true
      return
    }
    isNearlyConstant = Double(largest) > 0.92 * Double(samples)
    let pairs = counts.reduce(0.0) { $0 + Double($1) * Double(max($1, 1) - 1) }
    let collision = pairs / (Double(samples) * Double(max(samples - 1, 1)))
    isCompressible = collision >= 1.06 / 256
  }
}

extension UnsafeRawBufferPointer {
  /// Whether both hold the same bytes.
  @unsafe func elementsEqualBytes(of other: UnsafeRawBufferPointer) -> Bool {
    guard count == other.count else { return false }
    guard count > 0, let left = baseAddress, let right = other.baseAddress else { return true }
    return unsafe lmoe_equal(left, right, count) == 1
  }
}
