import LMoECore
import LMoEFormat

/// The factors of a linear layer that an expert adapts, as its bank has them: B as out × rank, or, where it is
/// quantized, as rank × out.
struct StoredFactors: Sendable {
  /// The ends of the names.
  static let nameOfA = ".lora_A.weight"
  static let nameOfB = ".lora_B.weight"
  static let nameOfTransposedB = ".lora_B.transposed"

  /// A.
  let a: Entry
  /// B, or its transpose.
  let b: Entry
  /// Whether `b` is the transpose.
  let isTransposed: Bool
  let rank: Int
  let inputs: Int
  let outputs: Int

  /// Finds them; nil if they are not there, or not two matrices of one rank.
  init?(of module: String, prefix: String, in manifest: Manifest) {
    guard let a = manifest.tensor(prefix + module + Self.nameOfA) else { return nil }
    let plain = manifest.tensor(prefix + module + Self.nameOfB)
    guard let b = plain ?? manifest.tensor(prefix + module + Self.nameOfTransposedB) else { return nil }
    (self.a, self.b, isTransposed) = (a, b, plain == nil)
    guard a.type.shape.count == 2, b.type.shape.count == 2 else { return nil }
    (rank, inputs) = (a.type.shape[0], a.type.shape[1])
    outputs = b.type.shape[isTransposed ? 1 : 0]
    guard b.type.shape[isTransposed ? 0 : 1] == rank, rank > 0 else { return nil }
  }

  /// The name that B has by default for the name of its transpose; nil for others.
  static func plainName(ofTransposed name: String) -> String? {
    let end = Array(nameOfTransposedB.utf8)
    guard name.utf8.count > end.count, name.utf8.suffix(end.count).elementsEqual(end) else { return nil }
    return String(decoding: name.utf8.dropLast(end.count), as: UTF8.self) + nameOfB
  }

  /// The name that its transpose has, where it is quantized, for the name of a B; nil for others.
  static func transposedName(of name: String) -> String? {
    let end = Array(nameOfB.utf8)
    guard name.utf8.count > end.count, name.utf8.suffix(end.count).elementsEqual(end) else { return nil }
    return String(decoding: name.utf8.dropLast(end.count), as: UTF8.self) + nameOfTransposedB
  }

  /// B by rows (out × rank), whichever way `values` of `b` have it.
  func plainB(_ values: [Float]) -> [Float] {
    isTransposed ? transposed(values, rows: rank, columns: outputs) : values
  }

  /// Bᵀ by rows (rank × out), whichever way `values` of `b` have it.
  func transposedB(_ values: [Float]) -> [Float] {
    isTransposed ? values : transposed(values, rows: outputs, columns: rank)
  }
}

/// The transpose of a matrix given by rows.
func transposed(_ values: [Float], rows: Int, columns: Int) -> [Float] {
  unsafe [Float](unsafeUninitializedCapacity: rows * columns) { out, count in
    for row in 0..<rows {
      for column in 0..<columns { unsafe out[column * rows + row] = values[row * columns + column] }
    }
    count = rows * columns
  }
}

extension ByteSource {
  /// All values of a tensor of that type; empty where nobody reads it.
  func floats(_ type: TensorType) throws(FormatError) -> [Float] {
    guard let values = FloatValues(type) else { return [] }
    let buffer = RawBuffer(count: type.rawBytes)
    let bytes = unsafe buffer.prefix(type.rawBytes)
    try unsafe read(into: bytes, at: 0)
    return unsafe [Float](unsafeUninitializedCapacity: type.elementCount) { floats, count in
      unsafe values.convert(UnsafeRawBufferPointer(bytes), to: floats)
      count = type.elementCount
    }
  }
}
