public import LMoECore

/// A tensor of a GGUF file.
public struct GGUFTensor: Hashable, Sendable {
  /// Its name.
  public let name: String
  /// Its type; the shape is outermost first, against the order in the file.
  public let type: TensorType
  /// The element type as ggml has it.
  public let ggml: GGMLType
  /// Where its bytes begin, from the start of the file.
  public let offset: UInt64
}

/// An open GGUF file of version 2 or 3, everything but the tensors' values read and checked.
///
/// Tensors must lie one after the other, each aligned, as every writer lays them out and llama.cpp demands.
/// Beyond that this refuses keys and names that stand twice, texts that are not UTF-8, arrays of arrays, names
/// that a bundle could not hold, and bytes after the last tensor.
public final class GGUFFile: Sendable {
  /// Its path.
  public let path: String
  /// Version of the format: 2 or 3.
  public let version: UInt32
  /// The metadata in order.
  public let metadata: [(key: String, value: GGUFValue)]
  /// The tensors in the order of their bytes.
  public let tensors: [GGUFTensor]
  private let file: any File
  private let keys: [ByteKey: Int]

  /// Most keys in a file.
  private static let mostKeys: UInt64 = 1 << 16
  private static let longestKey = (1 << 16) - 1
  private static let mostDimensions: UInt32 = 4

  /// Whether the file at `path` begins as GGUF files do.
  public static func isGGUF(_ path: String, in system: any FileSystem = PosixFileSystem()) -> Bool {
    guard system.kind(path) == .file else { return false }
    return (try? system.open(path, .read).bytes(at: 0, count: 4)) == Array("GGUF".utf8)
  }

  /// Opens and checks the file at `path`.
  ///
  /// - Throws: `gguf-invalid` with the key, tensor and offset, or `io`.
  public init(path: String, in system: any FileSystem = PosixFileSystem()) throws(FormatError) {
    self.path = path
    file = try io { () throws(FileError) in try system.open(path, .read) }
    do throws(FormatError) {
      var cursor = try GGUFCursor(file)
      guard try cursor.take(4, "the magic").elementsEqual("GGUF".utf8) else {
        throw FormatError(.ggufInvalid, offset: 0, field: "it does not begin with \"GGUF\"")
      }
      version = try Self.version(&cursor)
      let tensorCount = try cursor.u64("the number of tensors")
      guard tensorCount <= UInt64(Limits.entries) else {
        throw cursor.invalid(
          "too many tensors", expected: "at most \(Limits.entries)", found: "\(tensorCount)")
      }
      (metadata, keys) = try Self.metadata(&cursor)
      let alignment = try Self.alignment(metadata, keys)
      tensors = try Self.tensors(&cursor, count: tensorCount, alignment: alignment)
    } catch {
      throw error.at(path: path)
    }
  }

  private static func version(_ cursor: inout GGUFCursor) throws(FormatError) -> UInt32 {
    let version = try cursor.u32("the version")
    guard version == 2 || version == 3 else {
      let isSwapped = version != 0 && version & 0xFFFF == 0
      throw FormatError(
        .ggufInvalid, offset: 4, field: isSwapped ? "the file is big-endian" : "version",
        expected: "2 or 3", found: isSwapped ? "\(version.byteSwapped), swapped" : "\(version)")
    }
    return version
  }

  private static func metadata(
    _ cursor: inout GGUFCursor
  ) throws(FormatError) -> ([(key: String, value: GGUFValue)], [ByteKey: Int]) {
    let count = try cursor.u64("the number of keys")
    guard count <= mostKeys else {
      throw cursor.invalid("too many keys", expected: "at most \(mostKeys)", found: "\(count)")
    }
    var metadata: [(key: String, value: GGUFValue)] = []
    var keys: [ByteKey: Int] = [:]
    for index in 0..<Int(count) {
      cursor.key = nil
      let key = try cursor.text("a key", atMost: longestKey)
      cursor.key = key
      guard !key.isEmpty else { throw cursor.invalid("an empty key") }
      guard keys.updateValue(index, forKey: ByteKey(key)) == nil else {
        throw cursor.invalid("the key stands twice")
      }
      metadata.append((key, try cursor.value()))
    }
    cursor.key = nil
    return (metadata, keys)
  }

  private static func alignment(
    _ metadata: [(key: String, value: GGUFValue)], _ keys: [ByteKey: Int]
  ) throws(FormatError) -> UInt64 {
    let key = "general.alignment"
    guard let place = keys[ByteKey(key)] else { return 32 }
    let value = metadata[place].value
    guard case .u32(let alignment) = value, alignment.nonzeroBitCount == 1, alignment <= 1 << 20 else {
      throw FormatError(
        .ggufInvalid, entry: key, field: "alignment", expected: "a power of two", found: value.shortText)
    }
    return UInt64(alignment)
  }

  private static func tensors(
    _ cursor: inout GGUFCursor, count: UInt64, alignment: UInt64
  ) throws(FormatError) -> [GGUFTensor] {
    var records: [(name: String, type: TensorType, ggml: GGMLType, offset: UInt64)] = []
    var names: Set<ByteKey> = []
    for _ in 0..<count {
      cursor.key = nil
      let name = try cursor.text("a tensor's name", atMost: Limits.nameBytes)
      cursor.key = name
      guard isValidName(name) else { throw cursor.invalid("a name without control characters and \"..\"") }
      guard names.insert(ByteKey(name)).inserted else { throw cursor.invalid("the name stands twice") }
      let (type, ggml) = try self.type(&cursor)
      records.append((name, type, ggml, try cursor.u64("an offset")))
    }
    cursor.key = nil
    guard let start = aligned(cursor.position, to: alignment) else { throw cursor.invalid("its length") }
    var position: UInt64 = 0
    var end = cursor.position
    var tensors: [GGUFTensor] = []
    for record in records {
      func wrong(_ rule: String, _ expected: String, _ found: String) -> FormatError {
        FormatError(
          .ggufInvalid, entry: record.name, offset: start + position, field: rule, expected: expected,
          found: found)
      }
      guard record.offset == position else {
        throw wrong("tensors one after the other", "the offset \(position)", "\(record.offset)")
      }
      end = start + position + UInt64(record.type.rawBytes)
      guard end <= cursor.size else {
        throw wrong("the file is truncated", "\(end) bytes", "\(cursor.size)")
      }
      tensors.append(
        GGUFTensor(name: record.name, type: record.type, ggml: record.ggml, offset: start + position))
      guard let next = aligned(position + UInt64(record.type.rawBytes), to: alignment) else {
        throw wrong("its length", "less", "\(record.type.rawBytes)")
      }
      position = next
    }
    guard cursor.size <= max(end, start + position) else {
      throw FormatError(
        .ggufInvalid, offset: end, field: "bytes after the last tensor",
        expected: "\(start + position) bytes",
        found: "\(cursor.size)")
    }
    return tensors
  }

  private static func type(_ cursor: inout GGUFCursor) throws(FormatError) -> (TensorType, GGMLType) {
    let rank = try cursor.u32("the number of dimensions")
    guard rank <= mostDimensions else {
      throw cursor.invalid("dimensions", expected: "at most \(mostDimensions)", found: "\(rank)")
    }
    var shape: [UInt64] = []
    for _ in 0..<rank { shape.append(try cursor.u64("a dimension")) }
    let code = try cursor.u32("a tensor's type")
    guard let ggml = GGMLType(code: code) else {
      throw cursor.invalid("a type of ggml's", found: "\(code)")
    }
    guard let type = TensorType(dtype: ggml.dtype, geometry: ggml.geometry, shape: shape.reversed()) else {
      throw cursor.invalid("a shape that the type \(ggml.name) can have", found: "\(shape)")
    }
    return (type, ggml)
  }

  /// The value of `key`; nil if there is none.
  public func value(_ key: String) -> GGUFValue? { keys[ByteKey(key)].map { metadata[$0].value } }

  /// The raw bytes of a tensor.
  public func source(of tensor: GGUFTensor) -> any ByteSource { FileSource(file, at: tensor.offset) }
}
