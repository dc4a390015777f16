import LMoECore
import LMoEFormat

/// A line of `--tensors`.
struct TensorLine {
  let bank: String
  let name: String
  let type: TensorType
  let storedBytes: UInt64
  let codec: String

  init(bank: String, name: String, type: TensorType, storedBytes: UInt64, codec: String) {
    self.bank = bank
    self.name = name
    self.type = type
    self.storedBytes = storedBytes
    self.codec = codec
  }

  init(bank: String, _ entry: Entry, isExternal: Bool) {
    let codecs = Codec.allCases.filter { codec in entry.chunks.contains { $0.codec == codec } }
    self.init(
      bank: bank, name: entry.name, type: entry.type, storedBytes: entry.storedBytes,
      codec: isExternal ? "external" : codecs.map { $0.name.lowercased() }.joined(separator: "+"))
  }

  init(_ tensor: SafetensorsTensor, bank: String) {
    self.init(
      bank: bank, name: tensor.name, type: tensor.type, storedBytes: UInt64(tensor.type.rawBytes),
      codec: "raw")
  }

  var dtype: String { type.geometry?.name ?? type.dtype.name }

  var json: JSON {
    [
      "bank": .string(bank), "name": .string(name), "dtype": .string(dtype),
      "shape": .array(type.shape.map { .integer($0) }), "raw_bytes": .integer(type.rawBytes),
      "stored_bytes": .integer(storedBytes), "codec": .string(codec),
    ]
  }

  static func table(_ lines: [TensorLine]) -> Table {
    var table = Table(
      [
        ("bank", .left), ("tensor", .left), ("dtype", .left), ("shape", .left), ("bytes", .right),
        ("stored", .right), ("codec", .left),
      ], isList: true)
    for line in lines {
      table.add([
        line.bank, line.name, line.dtype,
        "[" + line.type.shape.map(String.init).joined(separator: ", ") + "]",
        formatted(bytes: line.type.rawBytes), formatted(bytes: line.storedBytes), line.codec,
      ])
    }
    return table
  }
}
