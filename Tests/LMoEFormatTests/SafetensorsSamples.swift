import Foundation
import LMoECore
import LMoEFormat
import Testing

/// A tensor as the reference library reads it: name and data as bytes, the dtype by its name.
struct ExpectedTensor: Equatable {
  let name: String
  let dtype: String
  let shape: [Int]
  let data: [UInt8]

  /// Fixtures of `fixtures/safetensors`, from the JSON beside each.
  static func list(_ fixture: String) throws -> [ExpectedTensor] {
    let text = try SafetensorsSamples.fixture(fixture + ".expected.json")
    return try #require(try JSON(parsing: text)["tensors"]?.array).map { json in
      let name = try #require(bytes(hexadecimal: json["name_utf8"]?.string ?? "?"))
      return ExpectedTensor(
        name: String(decoding: name, as: UTF8.self), dtype: try #require(json["dtype"]?.string),
        shape: try #require(json["shape"]?.array).compactMap(\.int),
        data: try #require(bytes(hexadecimal: json["data"]?.string ?? "?")))
    }
  }

  /// What this project reads.
  static func read(_ file: SafetensorsFile) throws -> [ExpectedTensor] {
    try file.tensors.map { tensor in
      var data = [UInt8](repeating: 0xEE, count: tensor.type.rawBytes)
      try data.withUnsafeMutableBytes { try file.source(of: tensor).read(into: $0, at: 0) }
      return ExpectedTensor(
        name: tensor.name, dtype: tensor.type.dtype.name, shape: tensor.type.shape, data: data)
    }
  }

  static func == (left: ExpectedTensor, right: ExpectedTensor) -> Bool {
    left.name.hasSameBytes(as: right.name) && left.dtype == right.dtype && left.shape == right.shape
      && left.data == right.data
  }
}

/// Safetensors files that tests start from, in memory.
enum SafetensorsSamples {
  static let directory = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../fixtures/safetensors").standardizedFileURL.path

  static func fixture(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(filePath: "\(directory)/\(name)")))
  }

  /// Length word, JSON text, data.
  static func file(header: String, data: [UInt8] = []) -> [UInt8] {
    let length = UInt64(header.utf8.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + Array(header.utf8) + data
  }

  /// A file of those tensors, laid out in their order, without padding.
  static func file(of tensors: [ExpectedTensor]) -> [UInt8] {
    var position = 0
    var members: [(String, JSON)] = []
    for tensor in tensors {
      let end = position + tensor.data.count
      members.append(
        (
          tensor.name,
          [
            "dtype": .string(tensor.dtype), "shape": .array(tensor.shape.map { .integer($0) }),
            "data_offsets": [.integer(position), .integer(end)],
          ]
        ))
      position = end
    }
    return file(header: JSON.object(members).serialized(), data: tensors.flatMap(\.data))
  }

  static let path = "weights.safetensors"

  static func open(_ bytes: [UInt8]) throws(FormatError) -> SafetensorsFile {
    try SafetensorsFile(path: path, in: SimulatedFileSystem(files: [path: bytes]))
  }

  /// The error of a file that must be refused: always the same code, always with the path.
  static func refusal(
    _ bytes: [UInt8], _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) -> FormatError? {
    let error = #expect(throws: FormatError.self, comment, sourceLocation: sourceLocation) {
      _ = try open(bytes)
    }
    #expect(error?.code == .safetensorsInvalid, comment, sourceLocation: sourceLocation)
    #expect(error?.path == path, comment, sourceLocation: sourceLocation)
    #expect(error?.description.contains("\n") == false, comment, sourceLocation: sourceLocation)
    return error
  }
}
