private import CLMoEKernels
import LMoECore

extension ChunkCoder {
  /// Decodes a chunk (specification §5).
  ///
  /// `stored` has been checked against the chunk's hash; `target` is `rawLength` bytes long.
  ///
  /// - Returns: nil, or what is wrong.
  @unsafe func decode(
    _ chunk: Chunk, of type: TensorType, _ stored: UnsafeRawBufferPointer,
    into target: UnsafeMutableRawBufferPointer
  ) -> String? {
    switch chunk.codec {
    case .raw:
      unsafe target.copyMemory(from: stored)
      return nil
    case .zstd:
      return unsafe zstd.decompress(stored, into: target)
    case .planes:
      return unsafe decodePlanes(chunk, of: type, stored, into: target)
    }
  }

  /// The raw length of each plane of `rawLength` bytes of `type`.
  static func planeLengths(_ filter: Filter, of type: TensorType, rawLength: Int) -> [Int] {
    if filter == .structSplit, let geometry = type.geometry {
      let blocks = rawLength / Int(geometry.blockBytes)
      return geometry.fields.map { blocks * Int($0) }
    }
    let width = type.dtype.elementBytes ?? 1
    return [Int](repeating: rawLength / width, count: width)
  }

  private func decodePlanes(
    _ chunk: Chunk, of type: TensorType, _ stored: UnsafeRawBufferPointer,
    into target: UnsafeMutableRawBufferPointer
  ) -> String? {
    let lengths = Self.planeLengths(chunk.filter, of: type, rawLength: chunk.rawLength)
    let count = lengths.count
    guard stored.count >= 5 * count, lengths.reduce(0, +) == chunk.rawLength else {
      return "planes header"
    }
    let scratch = unsafe planes.bytes
    // A single plane of bytes needs no merging: decode it in place.
    let inPlace = chunk.filter == .split && count == 1
    var pointers: [UnsafePointer<UInt8>?] = unsafe []
    var position = 5 * count
    var scratchPosition = 0
    for plane in 0..<count {
      let length = unsafe Int(
        UInt32(littleEndian: stored.loadUnaligned(fromByteOffset: 4 * plane, as: UInt32.self)))
      let mode = unsafe stored[4 * count + plane]
      let rest = stored.count - position
      guard length <= rest else { return "plane longer than the chunk" }
      let payload = unsafe UnsafeRawBufferPointer(rebasing: stored[position..<position + length])
      position += length
      let place =
        unsafe inPlace
        ? target
        : UnsafeMutableRawBufferPointer(
          rebasing: scratch[scratchPosition..<scratchPosition + lengths[plane]])
      scratchPosition += lengths[plane]
      switch mode {
      case 0:
        guard length == lengths[plane] else { return "raw plane of another length" }
        if inPlace { unsafe place.copyMemory(from: payload) }
        unsafe pointers.append(payload.baseAddress?.assumingMemoryBound(to: UInt8.self))
        continue
      case 1:
        guard length < lengths[plane] else { return "compressed plane is not smaller" }
        if let problem = unsafe zstd.decompress(payload, into: place) { return problem }
      case 2:
        guard length == 1 else { return "constant plane of another length" }
        unsafe place.initializeMemory(as: UInt8.self, repeating: payload[0])
      default: return "plane mode \(mode)"
      }
      unsafe pointers.append(UnsafePointer(place.baseAddress?.assumingMemoryBound(to: UInt8.self)))
    }
    guard position == stored.count else { return "planes do not fill the chunk" }
    if inPlace { return nil }
    guard let elements = unsafe target.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return nil }
    if chunk.filter == .structSplit, let geometry = type.geometry {
      let block = Int(geometry.blockBytes)
      var field = 0
      for plane in 0..<count {
        let width = Int(geometry.fields[plane])
        unsafe lmoe_field_scatter(
          pointers[plane], block, width, chunk.rawLength / block, elements + field)
        field += width
      }
    } else {
      unsafe lmoe_planes_merge(
        pointers, elements, lengths[0], Int32(count), chunk.filter == .rotateSplit ? 1 : 0)
    }
    return nil
  }
}
