public import LMoECore

/// Writes safetensors files: aligned, flushed, and under their name only when they are whole.
public enum SafetensorsWriter {
  /// Writes tensors of a bundle behind a head that is given: an imported file again, byte for byte.
  ///
  /// - Parameters:
  ///   - head: Length word and JSON text.
  ///   - tensors: The tensors and where each begins in the file.
  public static func write(
    _ path: String, head: [UInt8], tensors: [(entry: BankedEntry, offset: UInt64)], from bundle: Bundle,
    on pool: WorkerPool = .shared, in system: any FileSystem = PosixFileSystem()
  ) throws(FormatError) {
    let offsets = tensors.map(\.offset)
    try writeAtomically(path, in: system, failure: { FormatError($0) }) { (file) throws(FormatError) in
      try io { () throws(FileError) in try file.write(head, at: 0) }
      try unsafe bundle.decode(tensors.map(\.entry), on: pool) { (index, offset, bytes) throws(FormatError) in
        let place = offsets[index] + UInt64(offset)
        try io { () throws(FileError) in try unsafe file.write(bytes, at: place) }
      }
    }
  }

  /// Writes tensors from anywhere behind a head that is given, each checked against its content hash.
  ///
  /// - Parameters:
  ///   - head: Length word and JSON text.
  ///   - tensors: The tensors, each with the hash it must have and where it begins in the file.
  public static func write(
    _ path: String, head: [UInt8], checked tensors: [(entry: NewEntry, hash: Bits128, offset: UInt64)],
    on pool: WorkerPool = .shared, in system: any FileSystem = PosixFileSystem()
  ) throws(FormatError) {
    let offsets = tensors.map(\.offset)
    try writeAtomically(path, in: system, failure: { FormatError($0) }) { (file) throws(FormatError) in
      try io { () throws(FileError) in try file.write(head, at: 0) }
      try unsafe SourceReader(tensors.map(\.entry), on: pool).read(expecting: tensors.map(\.hash)) {
        (index, offset, bytes) throws(FormatError) in
        let place = offsets[index] + UInt64(offset)
        try io { () throws(FileError) in try unsafe file.write(bytes, at: place) }
      }
    }
  }

  /// Writes tensors with a head of our own, all workers reading at once.
  ///
  /// The widest elements come first, then it goes by name, so that each tensor is aligned to its element and the
  /// first to 64 bytes.
  ///
  /// - Parameter progress: Called with the number of bytes that were written, from any worker.
  /// - Throws: `too-large` for more than the format holds, `invalid-name` for block-quantized tensors, or what
  ///   a source throws.
  public static func write(
    _ path: String, tensors: [NewEntry], metadata: [(key: String, value: String)] = [],
    on pool: WorkerPool = .shared, in system: any FileSystem = PosixFileSystem(),
    progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws(FormatError) {
    let sorted = self.sorted(tensors)
    let head = try self.head(of: sorted, metadata: metadata)
    var positions: [UInt64] = []
    var end = UInt64(head.count)
    for tensor in sorted {
      positions.append(end)
      end += UInt64(tensor.type.rawBytes)
    }
    let places = positions
    try writeAtomically(path, in: system, failure: { FormatError($0) }) { (file) throws(FormatError) in
      try io { () throws(FileError) in try file.write(head, at: 0) }
      try unsafe SourceReader(sorted, on: pool).read { (index, offset, bytes) throws(FormatError) in
        let place = places[index] + UInt64(offset)
        try io { () throws(FileError) in try unsafe file.write(bytes, at: place) }
        progress(UInt64(bytes.count))
      }
    }
  }

  /// The bytes of a file with a head of our own, in memory.
  ///
  /// - Throws: what `write` does.
  public static func bytes(
    of tensors: [NewEntry], metadata: [(key: String, value: String)] = []
  ) throws(FormatError) -> [UInt8] {
    let sorted = self.sorted(tensors)
    var bytes = try head(of: sorted, metadata: metadata)
    for tensor in sorted {
      let buffer = RawBuffer(count: tensor.type.rawBytes)
      let part = unsafe buffer.prefix(tensor.type.rawBytes)
      try unsafe tensor.source.read(into: part, at: 0)
      unsafe bytes.append(contentsOf: part)
    }
    return bytes
  }

  /// The head that `write` puts before tensors: length word and JSON text.
  ///
  /// - Throws: `too-large` or `invalid-name`, as `write` does.
  public static func head(
    for tensors: [NewEntry], metadata: [(key: String, value: String)] = []
  ) throws(FormatError) -> [UInt8] {
    try head(of: sorted(tensors), metadata: metadata)
  }

  private static func sorted(_ tensors: [NewEntry]) -> [NewEntry] {
    tensors.sorted { (-$0.type.unitBytes, ByteKey($0.name)) < (-$1.type.unitBytes, ByteKey($1.name)) }
  }

  /// Length word and JSON text for tensors in the given order, padded to 64 bytes.
  private static func head(
    of tensors: [NewEntry], metadata: [(key: String, value: String)]
  ) throws(FormatError) -> [UInt8] {
    let names = tensors.map { ByteKey($0.name) }.sorted()
    for (name, next) in zip(names, names.dropFirst()) where name == next {
      throw FormatError(.invalidName, entry: name.text, field: "it stands twice", found: name.text)
    }
    for tensor in tensors where !isValidName(tensor.name) || tensor.name == "__metadata__" {
      throw FormatError(
        .invalidName, entry: tensor.name, field: "no safetensors reader would take it", found: tensor.name)
    }
    var object = JSONObject()
    if !metadata.isEmpty {
      object["__metadata__"] = .object(metadata.map { ($0.key, .string($0.value)) })
    }
    var position = 0
    for tensor in tensors {
      guard tensor.type.dtype != .block else {
        throw FormatError(
          .invalidName, entry: tensor.name, field: "safetensors has no block-quantized types",
          found: tensor.name)
      }
      object[tensor.name] = [
        "dtype": .string(tensor.type.dtype.name),
        "shape": .array(tensor.type.shape.map { .integer($0) }),
        "data_offsets": [.integer(position), .integer(position + tensor.type.rawBytes)],
      ]
      position += tensor.type.rawBytes
    }
    var json = Array(JSON.object(object).serialized().utf8)
    json.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (64 - (8 + json.count) % 64) % 64))
    guard json.count <= Int(SafetensorsHeader.maximumBytes) else {
      throw FormatError(.tooLarge, field: "safetensors header", found: "\(json.count) bytes")
    }
    var head: [UInt8] = []
    head.append(little: UInt64(json.count))
    return head + json
  }
}
