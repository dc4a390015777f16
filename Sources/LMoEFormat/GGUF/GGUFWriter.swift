public import LMoECore

/// Writes GGUF files of version 3: aligned, flushed, and under their name only when they are whole.
public enum GGUFWriter {
  /// Where tensors begin: a multiple of this many bytes.
  private static let alignment: UInt64 = 32

  /// Writes metadata and tensors in the given order.
  ///
  /// - Parameters:
  ///   - metadata: Keys and values; no key may stand twice.
  ///   - tensors: The tensors, of element types that GGUF has.
  ///   - progress: Called with the number of bytes that were written, from any worker.
  /// - Throws: `invalid-name` for a name that stands twice or a type that GGUF lacks, or what a source throws;
  ///   nothing is left at `path` then.
  public static func write(
    _ path: String, metadata: [(key: String, value: GGUFValue)], tensors: [NewEntry],
    on pool: WorkerPool = .shared, in system: any FileSystem = PosixFileSystem(),
    progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws(FormatError) {
    do throws(FormatError) {
      let (head, places, end) = try layout(metadata, tensors)
      try writeAtomically(path, in: system, failure: { FormatError($0) }) { (file) throws(FormatError) in
        try io { () throws(FileError) in
          // What lies between tensors is zero.
          try file.truncate(to: end)
          try file.write(head, at: 0)
        }
        try unsafe SourceReader(tensors, on: pool).read { (index, offset, bytes) throws(FormatError) in
          let place = places[index] + UInt64(offset)
          try io { () throws(FileError) in try unsafe file.write(bytes, at: place) }
          progress(UInt64(bytes.count))
        }
      }
    } catch {
      throw error.at(path: path)
    }
  }

  /// Everything before the tensors' bytes, where each tensor begins, and where the file ends.
  private static func layout(
    _ metadata: [(key: String, value: GGUFValue)], _ tensors: [NewEntry]
  ) throws(FormatError) -> (head: [UInt8], places: [UInt64], end: UInt64) {
    for list in [metadata.map { ByteKey($0.key) }, tensors.map { ByteKey($0.name) }] {
      let sorted = list.sorted()
      for (name, next) in zip(sorted, sorted.dropFirst()) where name == next {
        throw FormatError(.invalidName, entry: name.text, field: "it stands twice", found: name.text)
      }
    }
    var head = Array("GGUF".utf8)
    head.append(little: UInt32(3))
    head.append(little: UInt64(tensors.count))
    head.append(little: UInt64(metadata.count))
    for (key, value) in metadata {
      head.append(ggufText: key)
      head.append(little: value.kind.rawValue)
      head.append(gguf: value)
    }
    var position: UInt64 = 0
    var offsets: [UInt64] = []
    for tensor in tensors {
      guard let ggml = GGMLType(tensor.type), tensor.type.shape.count <= 4 else {
        throw FormatError(
          .invalidName, entry: tensor.name, field: "GGUF has no type \(tensor.type.name) of this shape",
          found: tensor.name)
      }
      head.append(ggufText: tensor.name)
      head.append(little: UInt32(tensor.type.shape.count))
      for dimension in tensor.type.shape.reversed() { head.append(little: UInt64(dimension)) }
      head.append(little: ggml.code)
      head.append(little: position)
      offsets.append(position)
      guard let next = aligned(position + UInt64(tensor.type.rawBytes), to: alignment) else {
        throw FormatError(.tooLarge, entry: tensor.name, found: "\(tensor.type.rawBytes) bytes")
      }
      position = next
    }
    head.append(zeros: Int((alignment - UInt64(head.count) % alignment) % alignment))
    let start = UInt64(head.count)
    return (head, offsets.map { start + $0 }, start + position)
  }
}

extension TensorType {
  /// The name of the element type, or of the scheme of blocks.
  fileprivate var name: String { geometry?.name ?? dtype.name }
}

extension [UInt8] {
  fileprivate mutating func append(ggufText text: String) {
    append(little: UInt64(text.utf8.count))
    append(contentsOf: text.utf8)
  }

  fileprivate mutating func append(gguf value: GGUFValue) {
    switch value {
    case .u8(let value): append(value)
    case .i8(let value): append(UInt8(bitPattern: value))
    case .bool(let value): append(value ? 1 : 0)
    case .u16(let value): append(little: value)
    case .i16(let value): append(little: UInt16(bitPattern: value))
    case .u32(let value): append(little: value)
    case .i32(let value): append(little: UInt32(bitPattern: value))
    case .u64(let value): append(little: value)
    case .i64(let value): append(little: UInt64(bitPattern: value))
    case .f32(let value): append(little: value.bitPattern)
    case .f64(let value): append(little: value.bitPattern)
    case .string(let text): append(ggufText: text)
    case .array(let kind, let elements):
      append(little: kind.rawValue)
      append(little: UInt64(elements.count))
      for element in elements { append(gguf: element) }
    }
  }
}
