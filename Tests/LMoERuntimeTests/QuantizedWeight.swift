import CLMoEKernels
import LMoEFormat
import Testing

/// A scheme of blocks for tests of kernels.
enum Quantized: CaseIterable, CustomTestStringConvertible {
  case q4_0, q8_0, q4K, q6K, i8Row, i4Group32, i4Group64, i4Group128, nf4

  static let withIntegers = allCases.filter { $0 != .nf4 }

  var testDescription: String { "\(self)" }

  /// Blocks of rows of that length.
  func geometry(_ columns: Int) -> BlockGeometry? {
    switch self {
    case .q4_0: .q4_0
    case .q8_0: .q8_0
    case .q4K: .q4K
    case .q6K: .q6K
    case .i8Row: .i8Row(columns)
    case .i4Group32: .i4Group(32)
    case .i4Group64: .i4Group(64)
    case .i4Group128: .i4Group(128)
    case .nf4: .nf4
    }
  }

  /// Whether rows of that length can be of such blocks.
  func takes(_ columns: Int) -> Bool {
    guard let geometry = geometry(columns) else { return false }
    return geometry.layout == .flat || columns.isMultiple(of: Int(geometry.blockElements))
  }

  /// Blocks of any integers, with scales near 0.01, or all of them powers of two.
  func blocks(_ rows: Int, _ columns: Int, _ numbers: inout Numbers, exact: Bool = false) -> [UInt8] {
    guard let geometry = geometry(columns) else { return [] }
    let size = Int(geometry.blockElements)
    let count = (rows * columns + size - 1) / size
    var bytes = [UInt8](repeating: 0, count: count * Int(geometry.blockBytes))
    for index in bytes.indices { bytes[index] = UInt8(numbers.integer(0...255)) }
    // Of f16: 2^-7 and a fraction; of float32 the same.
    func half() -> [UInt8] {
      [exact ? 0 : UInt8(numbers.integer(0...255)), 0x20 | (exact ? 0 : UInt8(numbers.integer(0...3)))]
    }
    func float() -> [UInt8] { [0, exact ? 0 : UInt8(numbers.integer(0...255)), exact ? 0 : 0x10, 0x3C] }
    for block in 0..<count {
      let start = block * Int(geometry.blockBytes)
      func put(_ values: [UInt8], _ offset: Int) {
        for (index, value) in values.enumerated() { bytes[start + offset + index] = value }
      }
      switch self {
      case .q4_0, .q8_0: put(half(), 0)
      case .q4K:
        put(half(), 0)
        put(half(), 2)
      case .q6K: put(half(), 208)
      case .i8Row: put(float(), 0)
      case .i4Group32, .i4Group64, .i4Group128: put(half() + [UInt8(numbers.integer(0...15))], 0)
      case .nf4: put(float() + float(), 0)
      }
    }
    return bytes
  }
}

/// Elements of blocks as the decoder of the format gives them.
func decoded(_ blocks: [UInt8], _ geometry: BlockGeometry, _ count: Int) -> [Float] {
  var values = [Float](repeating: 0, count: count)
  lmoe_dequantize(Int32(geometry.scheme), Int(geometry.blockElements), blocks, 0, count, &values)
  return values
}
