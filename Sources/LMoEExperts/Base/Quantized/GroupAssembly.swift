import LMoECore
import LMoEFormat

/// I4_GROUP blocks of the three tensors that GPTQ and AWQ have for a weight: packed numbers, packed zeros, scales.
struct GroupAssembly: Sendable {
  /// How numbers are packed into words of 32 bits.
  enum Layout: Sendable {
    /// Eight inputs of one output in a word; zeros may be stored less one.
    case gptq(isOffByOne: Bool)
    /// Eight outputs of one input in a word, the even ones first.
    case awq
  }

  let layout: Layout
  let group: Int
  let inputs: Int
  let outputs: Int
  let quants: CheckpointWeight
  let zeros: CheckpointWeight
  let scales: CheckpointWeight

  private var blockBytes: Int { 3 + group / 2 }
  /// The bytes of all blocks.
  var count: Int { outputs * (inputs / group) * blockBytes }

  /// The output, of eight in a word, that nibble `index` belongs to.
  private func place(_ index: Int) -> Int {
    if case .awq = layout { return index < 4 ? 2 * index : 2 * index - 7 }
    return index
  }

  /// Makes sure that no zero lies outside of what a block holds.
  func check(path: String, module: String) throws {
    guard case .gptq(isOffByOne: true) = layout else { return }
    let words = try Self.words(zeros)
    guard words.contains(where: { word in (0..<8).contains { (word >> (4 * $0)) & 15 == 15 } }) else {
      return
    }
    throw ExpertError(
      .quantizedModel, path: path,
      found: "gptq with a zero of 16, of which readers disagree: \(module).qzeros")
  }

  private static func words(_ tensor: CheckpointWeight) throws(FormatError) -> [UInt32] {
    let buffer = RawBuffer(count: tensor.type.rawBytes)
    let bytes = unsafe buffer.prefix(tensor.type.rawBytes)
    try unsafe tensor.source.read(into: bytes, at: 0)
    return (0..<tensor.type.elementCount).map {
      UInt32(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self))
    }
  }

  /// All blocks.
  func blocks() throws(FormatError) -> [UInt8] {
    let scaleBytes = RawBuffer(count: scales.type.rawBytes)
    let scales = unsafe scaleBytes.prefix(self.scales.type.rawBytes)
    try unsafe self.scales.source.read(into: scales, at: 0)
    let (quants, zeros) = (try Self.words(quants), try Self.words(zeros))
    var blocks = [UInt8](repeating: 0, count: count)
    let rowBytes = inputs / group * blockBytes
    let added: UInt32 = if case .gptq(isOffByOne: true) = layout { 1 } else { 0 }
    for number in 0..<inputs / group {
      for output in 0..<outputs {
        let block = output * rowBytes + number * blockBytes
        let scale = 2 * (number * outputs + output)
        unsafe blocks[block] = scales[scale]
        unsafe blocks[block + 1] = scales[scale + 1]
      }
      for word in 0..<outputs / 8 {
        for index in 0..<8 {
          let zero = (zeros[number * (outputs / 8) + word] >> (4 * UInt32(index))) & 15
          let block = (8 * word + place(index)) * rowBytes + number * blockBytes
          blocks[block + 2] = UInt8(truncatingIfNeeded: zero + added)
        }
      }
    }
    if case .awq = layout {
      for input in 0..<inputs {
        for word in 0..<outputs / 8 {
          let packed = quants[input * (outputs / 8) + word]
          for index in 0..<8 {
            put(packed >> (4 * UInt32(index)), input, (8 * word + place(index)) * rowBytes, &blocks)
          }
        }
      }
    } else {
      for word in 0..<inputs / 8 {
        for output in 0..<outputs {
          let packed = quants[word * outputs + output]
          for index in 0..<8 {
            put(packed >> (4 * UInt32(index)), 8 * word + index, output * rowBytes, &blocks)
          }
        }
      }
    }
    return blocks
  }

  /// Puts the low four bits of `value` in the place of an input of a row.
  private func put(_ value: UInt32, _ input: Int, _ row: Int, _ blocks: inout [UInt8]) {
    let (number, element) = (input / group, input % group)
    let isHigh = element >= group / 2
    let byte = row + number * blockBytes + 3 + (isHigh ? element - group / 2 : element)
    blocks[byte] |= UInt8(truncatingIfNeeded: value & 15) << (isHigh ? 4 : 0)
  }
}

/// Gives the blocks of an assembly, which are all made for the first part that is read, and kept for a while.
final class AssembledSource: ByteSource {
  private let assembly: GroupAssembly
  private let made = Guarded<[UInt8]?>(nil)

  init(_ assembly: GroupAssembly) { self.assembly = assembly }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    let blocks = try made.withValue { (made) throws(FormatError) -> [UInt8] in
      let blocks = if let made { made } else { try assembly.blocks() }
      // A glance at a part, or the end of it all: nothing more is expected soon.
      let isLast = Int(offset) + buffer.count == assembly.count || (offset == 0 && buffer.count < 1 << 16)
      made = isLast ? nil : blocks
      return blocks
    }
    let start = Int(offset)
    unsafe blocks.withUnsafeBytes { bytes in
      unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + buffer.count]))
    }
  }
}
