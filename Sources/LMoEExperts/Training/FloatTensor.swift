import LMoECore
public import LMoEFormat

/// A tensor of float32 in memory, on its way into a file.
public struct FloatTensor: Sendable {
  /// Its name.
  public let name: String
  /// Its shape.
  public let shape: [Int]
  /// Its bytes.
  let source: any ByteSource
  /// How many values there are; nil where the source does not tell.
  private let count: Int?

  /// A tensor of values by rows.
  public init(_ name: String, shape: [Int], values: [Float]) {
    (self.name, self.shape, count) = (name, shape, values.count)
    source = ArrayFloats(values: values)
  }

  /// A tensor of values that stay where they are.
  ///
  /// They must not change or go away before what the tensor is given to returns.
  @unsafe public init(_ name: String, shape: [Int], borrowing values: UnsafeBufferPointer<Float>) {
    (self.name, self.shape, count) = (name, shape, values.count)
    source = unsafe BorrowedFloats(UnsafeRawBufferPointer(values))
  }

  /// A tensor that `source` gives: its values by rows, four bytes each, little-endian.
  public init(_ name: String, shape: [Int], source: any ByteSource) {
    (self.name, self.shape, self.source, count) = (name, shape, source, nil)
  }

  /// Its type; nil for a shape that does not fit the values, or is none.
  var type: TensorType? {
    let sizes = shape.compactMap { UInt64(exactly: $0) }
    guard sizes.count == shape.count, let type = TensorType(dtype: .f32, shape: sizes),
      count ?? type.elementCount == type.elementCount
    else { return nil }
    return type
  }

  /// The tensor as an entry of a bank; nil where `type` is.
  var entry: NewEntry? { type.map { NewEntry(tensor: name, type: $0, source: source) } }

  /// Its values.
  func floats() throws(FormatError) -> [Float] {
    guard let type else { return [] }
    let buffer = RawBuffer(count: type.rawBytes)
    let bytes = unsafe buffer.prefix(type.rawBytes)
    try unsafe source.read(into: bytes, at: 0)
    return unsafe Array(UnsafeRawBufferPointer(bytes).bindMemory(to: Float.self))
  }
}

/// The bytes of an array of float32.
private struct ArrayFloats: ByteSource {
  let values: [Float]

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    let start = Int(offset)
    unsafe values.withUnsafeBytes { bytes in
      unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + buffer.count]))
    }
  }
}

/// The bytes of float32 values in memory that somebody else keeps.
@safe private struct BorrowedFloats: ByteSource, @unchecked Sendable {
  @unsafe private let bytes: UnsafeRawBufferPointer

  @unsafe init(_ bytes: UnsafeRawBufferPointer) { unsafe self.bytes = unsafe bytes }

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    let start = Int(offset)
    unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + buffer.count]))
  }
}
