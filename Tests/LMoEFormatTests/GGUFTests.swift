import Foundation
import LMoECore
import LMoEFormat
import Testing

/// GGUF files, in and out.
@Suite struct GGUFTests {
  static let path = "model.gguf"
  static let directory = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../fixtures/gguf").standardizedFileURL.path

  private static func bytes(of tensor: GGUFTensor, in file: GGUFFile) throws -> [UInt8] {
    var data = [UInt8](repeating: 0xEE, count: tensor.type.rawBytes)
    try data.withUnsafeMutableBytes { try file.source(of: tensor).read(into: $0, at: 0) }
    return data
  }

  @Test func `what the library wrote is read`() throws {
    let file = try GGUFFile(path: Self.directory + "/values.gguf")
    #expect(file.version == 3)
    #expect(file.value("general.architecture") == .string("llama"))
    #expect(file.value("test.u8") == .u8(200))
    #expect(file.value("test.i8") == .i8(-100))
    #expect(file.value("test.u16") == .u16(60_000))
    #expect(file.value("test.i16") == .i16(-30_000))
    #expect(file.value("test.u32") == .u32(4_000_000_000))
    #expect(file.value("test.i32") == .i32(-2_000_000_000))
    #expect(file.value("test.f32") == .f32(0.1))
    #expect(file.value("test.bool") == .bool(true))
    #expect(file.value("test.text") == .string("é ▁\n\u{0}x"))
    #expect(file.value("test.u64") == .u64(1 << 63 + 1))
    #expect(file.value("test.i64") == .i64(-(1 << 62)))
    #expect(file.value("test.f64") == .f64(0.1))
    #expect(file.value("test.texts") == .strings(["a", "", "▁b"]))
    #expect(file.value("test.numbers") == .array(.i32, [.i32(1), .i32(2), .i32(-3)]))
    #expect(file.value("test.floats") == .array(.f32, [.f32(0.5), .f32(-1.25)]))
    #expect(file.value("test.flags") == .array(.bool, [.bool(true), .bool(false), .bool(true)]))
    #expect(file.value("test.none") == nil)
    let expected = try JSON(
      parsing: [UInt8](try Data(contentsOf: URL(filePath: Self.directory + "/values.expected.json"))))
    let members = try #require(expected.object).members
    #expect(file.tensors.map(\.name) == members.map(\.key))
    let names = ["float32": "F32", "float16": "F16", "float64": "F64", "int8": "I8", "int32": "I32"]
    for (tensor, (_, value)) in zip(file.tensors, members) {
      let type = try #require(value["type"]?.string)
      #expect(tensor.ggml.name == names[type] ?? type)
      let hex = try Self.bytes(of: tensor, in: file).map { String(format: "%02x", $0) }.joined()
      #expect(hex == value["bytes"]?.string, "\(tensor.name)")
    }
    #expect(file.tensors.first { $0.name == "f32" }?.type.shape == [3, 5])
    #expect(file.tensors.first { $0.name == "q6_k" }?.type.shape == [3, 256])
  }

  /// A key of every type and a few tensors.
  private static func sample() throws -> (metadata: [(key: String, value: GGUFValue)], tensors: [NewEntry]) {
    let metadata: [(key: String, value: GGUFValue)] = [
      ("general.architecture", .string("llama")), ("a", .u8(1)), ("b", .i8(-1)), ("c", .u16(2)),
      ("d", .i16(-2)), ("e", .u32(3)), ("f", .i32(-3)), ("g", .f32(0.5)), ("h", .bool(true)),
      ("i", .u64(4)), ("j", .i64(-4)), ("k", .f64(0.25)), ("l", .strings(["x", "", "yz"])),
      ("m", .array(.u16, [.u16(1), .u16(9)])), ("n", .array(.bool, [])),
    ]
    let block = try #require(GGMLType(code: 8)?.geometry)
    let blocks = try #require(TensorType(dtype: .block, geometry: block, shape: [2, 32]))
    return (
      metadata,
      [
        try Samples.tensor("one", .f32, [3], Samples.noise(12, seed: 1)),
        try Samples.tensor("two", .bf16, [2, 3], Samples.noise(12, seed: 2)),
        try Samples.tensor("empty", .f16, [2, 0], []),
        NewEntry(tensor: "blocks", type: blocks, source: MemorySource(Samples.noise(68, seed: 3))),
      ]
    )
  }

  private static func write(_ system: SimulatedFileSystem) throws {
    let (metadata, tensors) = try sample()
    try GGUFWriter.write(
      path, metadata: metadata, tensors: tensors, on: WorkerPool(count: 1), in: system)
  }

  @Test func `what is written is read again`() throws {
    let system = SimulatedFileSystem()
    try Self.write(system)
    let (metadata, tensors) = try Self.sample()
    let file = try GGUFFile(path: Self.path, in: system)
    #expect(file.metadata.map(\.key) == metadata.map(\.key))
    #expect(file.metadata.map(\.value) == metadata.map(\.value))
    #expect(file.tensors.map(\.name) == tensors.map(\.name))
    #expect(file.tensors.map(\.type) == tensors.map(\.type))
    for (tensor, entry) in zip(file.tensors, tensors) {
      var data = [UInt8](repeating: 0, count: entry.type.rawBytes)
      try data.withUnsafeMutableBytes { try entry.source.read(into: $0, at: 0) }
      #expect(try Self.bytes(of: tensor, in: file) == data, "\(tensor.name)")
      #expect(tensor.offset.isMultiple(of: 32))
    }
  }

  @Test func `every truncation and every flipped bit is read or refused with a sentence`() throws {
    let system = SimulatedFileSystem()
    try Self.write(system)
    let file = try system.open(Self.path, .read)
    let whole = try file.bytes(at: 0, count: Int(try file.size()))
    let dataStart = Int(try #require(try GGUFFile(path: Self.path, in: system).tensors.first).offset)
    func reads(_ bytes: [UInt8]) throws -> Bool {
      do throws(FormatError) {
        _ = try GGUFFile(path: Self.path, in: SimulatedFileSystem(files: [Self.path: bytes]))
        return true
      } catch {
        #expect(error.code == .ggufInvalid && error.description.hasPrefix("model.gguf"))
        return false
      }
    }
    // What is cut off must be missed, but for the zeros after the last tensor.
    for count in 0..<whole.count - 28 { #expect(try !reads(Array(whole[..<count])), "\(count)") }
    var accepted = 0
    for index in 0..<dataStart {
      for bit in 0..<8 {
        var bytes = whole
        bytes[index] ^= 1 << bit
        if try reads(bytes) { accepted += 1 }
      }
    }
    // Values, texts and names may change; what says how long things are may not.
    #expect(accepted > 100 && accepted < dataStart * 8 * 3 / 4)
    #expect(try !reads(whole + [UInt8](repeating: 0, count: 1)))
  }

  /// A file of the version 3 with the given parts.
  private static func file(
    version: UInt32 = 3, tensors: UInt64 = 0, keys: UInt64 = 0, _ rest: [UInt8] = []
  ) -> [UInt8] {
    Array("GGUF".utf8) + little(version) + little(tensors) + little(keys) + rest
  }

  private static func little(_ value: some FixedWidthInteger) -> [UInt8] {
    (0..<value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private static func text(_ text: String) -> [UInt8] { little(UInt64(text.utf8.count)) + Array(text.utf8) }

  private static func tensor(
    _ name: String, _ shape: [UInt64], code: UInt32 = 0, offset: UInt64 = 0
  ) -> [UInt8] {
    text(name) + little(UInt32(shape.count)) + shape.flatMap(little) + little(code) + little(offset)
  }

  static let attacks: [(what: String, bytes: [UInt8], says: String)] = {
    let string = little(UInt32(8))
    let array = little(UInt32(9))
    let twice = (text("k") + little(UInt32(0)) + [1]) + (text("k") + little(UInt32(0)) + [1])
    let pad = [UInt8](repeating: 0, count: 4096)
    return [
      ("version 1", file(version: 1), "version: expected 2 or 3, found 1"),
      ("big-endian", file(version: 3 << 24), "big-endian"),
      ("too many tensors", file(tensors: 1 << 40), "too many tensors"),
      ("too many keys", file(keys: 1 << 40), "too many keys"),
      ("a long key", file(keys: 1, little(UInt64.max)), "a key is too long"),
      ("an empty key", file(keys: 1, text("") + little(UInt32(0)) + [1]), "an empty key"),
      ("a key twice", file(keys: 2, twice), "\"k\", offset 47: not a valid GGUF file (the key stands twice)"),
      ("a long text", file(keys: 1, text("k") + string + little(UInt64(1) << 63)), "a text is too long"),
      ("no UTF-8", file(keys: 1, text("k") + string + little(UInt64(1)) + [0xFF]), "a text is not UTF-8"),
      ("an unknown type", file(keys: 1, text("k") + little(UInt32(13))), "unknown type of a value"),
      ("a flag of 2", file(keys: 1, text("k") + little(UInt32(7)) + [2]), "neither 0 nor 1"),
      (
        "arrays of arrays", file(keys: 1, text("k") + array + array + little(UInt64(0))), "an array of arrays"
      ),
      (
        "a long array", file(keys: 1, text("k") + array + little(UInt32(0)) + little(UInt64(1) << 62)),
        "the array is too long"
      ),
      (
        "odd alignment", file(keys: 1, text("general.alignment") + little(UInt32(4)) + little(UInt32(33))),
        "alignment"
      ),
      (
        "no alignment", file(keys: 1, text("general.alignment") + little(UInt32(4)) + little(UInt32(0))),
        "alignment"
      ),
      (
        "five dimensions", file(tensors: 1, tensor("t", [1, 1, 1, 1, 1]) + pad),
        "dimensions: expected at most 4"
      ),
      (
        "a huge tensor", file(tensors: 1, tensor("t", [1 << 40, 1 << 40]) + pad),
        "a shape that the type F32 can have"
      ),
      ("a wrapped shape", file(tensors: 1, tensor("t", [1 << 32, 1 << 32]) + pad), "a shape"),
      (
        "half a block", file(tensors: 1, tensor("t", [31, 2], code: 8) + pad),
        "a shape that the type Q8_0 can have"
      ),
      (
        "an unknown element type", file(tensors: 1, tensor("t", [1], code: 4) + pad),
        "a type of ggml's: found 4"
      ),
      ("an offset elsewhere", file(tensors: 1, tensor("t", [1], offset: 32) + pad), "one after the other"),
      ("bytes behind", file(tensors: 1, tensor("t", [1]) + pad), "bytes after the last tensor"),
      (
        "a name twice", file(tensors: 2, tensor("t", [1]) + tensor("t", [1], offset: 32) + pad),
        "the name stands twice"
      ),
      ("a control character", file(tensors: 1, tensor("t\n", [1]) + pad), "control characters"),
      ("a cut tensor", file(tensors: 1, tensor("t", [64])), "the file is truncated"),
    ]
  }()

  @Test(arguments: attacks) func `a hostile file is refused`(
    _ attack: (what: String, bytes: [UInt8], says: String)
  ) throws {
    let system = SimulatedFileSystem(files: [Self.path: attack.bytes])
    let error = #expect(throws: FormatError.self) { try GGUFFile(path: Self.path, in: system) }
    let sentence = error?.description ?? ""
    #expect(sentence.contains(attack.says), "\(attack.what): \(sentence)")
    #expect(sentence.hasSuffix("download it or convert the model again"))
  }

  @Test func `a failing disk leaves nothing behind`() throws {
    for operation in [SimulatedFileSystem.Operation.open, .write, .truncate, .sync, .rename] {
      let system = SimulatedFileSystem()
      system.fail(operation, at: 0, code: 28)
      #expect(throws: FormatError.self) { try Self.write(system) }
      #expect(system.paths.isEmpty, "\(operation)")
    }
  }

  @Test func `names that stand twice and types that GGUF lacks are not written`() throws {
    let system = SimulatedFileSystem()
    let one = try Samples.tensor("one", .f32, [1], Samples.noise(4, seed: 1))
    for (metadata, tensors, says) in [
      ([("k", GGUFValue.u8(1)), ("k", .u8(2))], [], "it stands twice"),
      ([], [one, one], "it stands twice"),
      ([], [try Samples.tensor("u", .u64, [1], Samples.noise(8, seed: 1))], "GGUF has no type U64"),
    ] as [([(key: String, value: GGUFValue)], [NewEntry], String)] {
      let error = #expect(throws: FormatError.self) {
        try GGUFWriter.write(Self.path, metadata: metadata, tensors: tensors, in: system)
      }
      #expect(error?.description.contains(says) == true)
    }
    #expect(system.paths.isEmpty)
  }
}
