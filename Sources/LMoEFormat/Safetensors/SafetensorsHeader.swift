import LMoECore

/// A tensor of a safetensors file.
public struct SafetensorsTensor: Hashable, Sendable {
  /// Its name.
  public let name: String
  /// Its type.
  public let type: TensorType
  /// Where its bytes begin, from the start of the file.
  public let offset: UInt64
}

/// The head of a safetensors file: names, types and places of its tensors, all checked.
///
/// Beyond what the format and its reference reader (0.8) check, this refuses duplicate names, unknown fields,
/// names with control characters or a component `..`, ranks over 8, and dimensions that only a zero beside
/// them excuses.
public struct SafetensorsHeader: Sendable {
  /// The tensors in the order of their bytes.
  public let tensors: [SafetensorsTensor]
  /// The file's own remarks, in order.
  public let metadata: [(key: String, value: String)]
  /// Where the tensors' bytes begin.
  public let dataStart: UInt64

  /// The longest JSON text.
  public static let maximumBytes: UInt64 = 100_000_000

  /// Parses the JSON text of a file of `fileBytes` bytes.
  ///
  /// - Throws: `safetensors-invalid` with what is wrong and, where there is one, the tensor.
  public init(json: [UInt8], fileBytes: UInt64) throws(FormatError) {
    try self.init(json: json, fileBytes: fileBytes, isHeadOnly: false)
  }

  private init(json: [UInt8], fileBytes: UInt64, isHeadOnly: Bool) throws(FormatError) {
    guard json.first == UInt8(ascii: "{") else {
      throw FormatError(.safetensorsInvalid, field: "the header does not begin with '{'")
    }
    dataStart = 8 + UInt64(json.count)
    let dataBytes = fileBytes - min(fileBytes, dataStart)
    var tensors: [SafetensorsTensor] = []
    var metadata: [(key: String, value: String)] = []
    var hasMetadata = false
    var cursor = JSONCursor(json, maximumDepth: 8)
    var current: String?
    do throws(JSONError) {
      // Duplicate names are found by sorting below: a set of a million names would cost more than they do.
      try cursor.beginObject(uniqueKeys: false)
      while let name = try cursor.nextKey() {
        current = name
        if name == "__metadata__" {
          if hasMetadata { throw JSONError(.duplicateKey(name), at: cursor.position) }
          hasMetadata = true
          try cursor.beginObject()
          while let key = try cursor.nextKey() { metadata.append((key, try cursor.string())) }
        } else {
          let record = try SafetensorsRecord(&cursor)
          let tensor: SafetensorsTensor
          do throws(FormatError) {
            tensor = try record.tensor(named: name, dataStart: dataStart, dataBytes: dataBytes)
          } catch { throw JSONError(.expected(error.field ?? "a tensor"), at: cursor.position) }
          tensors.append(tensor)
        }
      }
      current = nil
      try cursor.end()
    } catch {
      throw FormatError(.safetensorsInvalid, entry: current, field: error.description)
    }
    tensors.sort {
      ($0.offset, $0.type.rawBytes, ByteKey($0.name)) < ($1.offset, $1.type.rawBytes, ByteKey($1.name))
    }
    if !isHeadOnly { try Self.checkCoverage(tensors, from: dataStart, to: fileBytes) }
    try Self.checkNames(tensors)
    self.tensors = tensors
    self.metadata = metadata
  }

  /// Parses a head that was kept: length word and JSON text.
  ///
  /// The file's length is what its tensors need.
  ///
  /// - Throws: `safetensors-invalid`.
  public init(head: [UInt8]) throws(FormatError) {
    guard head.count >= 8, Fields(head).u64(0) == UInt64(head.count - 8) else {
      throw FormatError(.safetensorsInvalid, field: "header length")
    }
    let json = Array(head[8...])
    let unbounded = try SafetensorsHeader(json: json, fileBytes: .max >> 1, isHeadOnly: true)
    let end = unbounded.tensors.last.map { $0.offset + UInt64($0.type.rawBytes) }
    self = try SafetensorsHeader(json: json, fileBytes: end ?? UInt64(head.count))
  }

  /// The tensors must fill the file without holes and without sharing: nothing can hide between them.
  private static func checkCoverage(
    _ tensors: [SafetensorsTensor], from start: UInt64, to end: UInt64
  ) throws(FormatError) {
    var position = start
    for tensor in tensors {
      guard tensor.offset == position else {
        let what = tensor.offset > position ? "a hole before it" : "it overlaps another tensor"
        throw FormatError(.safetensorsInvalid, entry: tensor.name, offset: tensor.offset, field: what)
      }
      position += UInt64(tensor.type.rawBytes)
    }
    guard position == end else {
      throw FormatError(
        .safetensorsInvalid, field: position > end ? "the file is truncated" : "bytes after the last tensor",
        expected: "\(position) bytes", found: "\(end)")
    }
  }

  private static func checkNames(_ tensors: [SafetensorsTensor]) throws(FormatError) {
    let names = tensors.map { ByteKey($0.name) }.sorted()
    for (left, right) in zip(names, names.dropFirst()) where left == right {
      throw FormatError(.safetensorsInvalid, entry: left.text, field: "the name stands twice")
    }
  }
}

/// One tensor's object in the header, as it was written.
private struct SafetensorsRecord {
  var dtype = ""
  var shape: [UInt64] = []
  var begin: UInt64 = 0
  var end: UInt64 = 0

  init(_ cursor: inout JSONCursor) throws(JSONError) {
    var seen = 0
    try cursor.beginObject()
    while let key = try cursor.nextKey() {
      seen += 1
      switch key {
      case "dtype": dtype = try cursor.string()
      case "shape":
        try cursor.beginArray()
        while try cursor.nextElement() {
          shape.append(try Self.integer(&cursor))
          if shape.count > Limits.rank {
            throw JSONError(.expected("at most \(Limits.rank) dimensions"), at: cursor.position)
          }
        }
      case "data_offsets":
        try cursor.beginArray()
        var offsets: [UInt64] = []
        while try cursor.nextElement(), offsets.count < 3 { offsets.append(try Self.integer(&cursor)) }
        guard offsets.count == 2 else { throw JSONError(.expected("two data_offsets"), at: cursor.position) }
        (begin, end) = (offsets[0], offsets[1])
      default:
        throw JSONError(.expected("no field but dtype, shape and data_offsets"), at: cursor.position)
      }
    }
    guard seen == 3 else { throw JSONError(.expected("dtype, shape and data_offsets"), at: cursor.position) }
  }

  private static func integer(_ cursor: inout JSONCursor) throws(JSONError) -> UInt64 {
    let start = cursor.position
    let number = try cursor.number()
    guard number.text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let value: UInt64 = number.integer()
    else { throw JSONError(.expected("a whole number below 2^64"), at: start) }
    return value
  }

  func tensor(
    named name: String, dataStart: UInt64, dataBytes: UInt64
  ) throws(FormatError) -> SafetensorsTensor {
    func require(_ holds: Bool, _ rule: String) throws(FormatError) {
      if !holds { throw FormatError(.safetensorsInvalid, field: rule) }
    }
    try require(isValidName(name), "a name of 1 to 1024 bytes without control characters and \"..\"")
    guard let type = DType(name: dtype), type != .block else {
      throw FormatError(.safetensorsInvalid, field: "a dtype this tool supports, not \(dtype.printable)")
    }
    guard let tensorType = TensorType(dtype: type, shape: shape) else {
      throw FormatError(.safetensorsInvalid, field: "a smaller shape than \(shape)")
    }
    try require(begin <= end, "data_offsets in order")
    try require(end <= dataBytes, "data_offsets inside the file's \(dataBytes) data bytes, not \(end)")
    try require(
      end - begin == UInt64(tensorType.rawBytes),
      "\(tensorType.rawBytes) bytes for \(dtype) \(shape), not \(end - begin)")
    return SafetensorsTensor(name: name, type: tensorType, offset: dataStart + begin)
  }
}
