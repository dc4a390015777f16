import LMoECore
import LMoEFormat
import Testing

/// Files with a head of our own.
@Suite struct SafetensorsWriterTests {
  static let path = "out.safetensors"

  /// One tensor of every dtype with an odd number of bytes where that can be, in a hostile order, and names that
  /// need escapes.
  static func tensors() throws -> [NewEntry] {
    let dtypes = DType.allCases.filter { $0 != .block }.reversed()
    var result: [NewEntry] = []
    for (number, dtype) in dtypes.enumerated() {
      let elements = 2 * number + 1
      let width = try #require(dtype.elementBytes)
      result.append(
        try Samples.tensor(
          number % 2 == 0 ? "z.\(dtype.name)" : "\"a\"\\\(number)", dtype, [UInt64(elements)],
          Samples.noise(elements * width, seed: UInt64(number))))
    }
    result.append(try Samples.tensor("scalar", .f64, [], Samples.noise(8, seed: 50)))
    result.append(try Samples.tensor("empty", .f32, [4, 0, 2], []))
    result.append(try Samples.tensor("é", .u8, [1], [1]))
    result.append(try Samples.tensor("e\u{301}", .u8, [1], [2]))
    // More than the writer copies at once.
    result.append(try Samples.tensor("large", .bf16, [1025, 1025], Samples.noise(2_101_250, seed: 51)))
    return result
  }

  private func write(
    _ tensors: [NewEntry], metadata: [(key: String, value: String)] = [],
    in system: SimulatedFileSystem = SimulatedFileSystem()
  ) throws -> SafetensorsFile {
    try SafetensorsWriter.write(Self.path, tensors: tensors, metadata: metadata, in: system)
    #expect(system.paths == [Self.path])
    return try SafetensorsFile(path: Self.path, in: system)
  }

  private func bytes(_ entry: NewEntry) throws -> [UInt8] {
    var data = [UInt8](repeating: 0, count: entry.type.rawBytes)
    try data.withUnsafeMutableBytes { try entry.source.read(into: $0, at: 0) }
    return data
  }

  @Test func `what is written is read again`() throws {
    let tensors = try Self.tensors()
    let file = try write(tensors)
    let found = try ExpectedTensor.read(file)
    #expect(found.count == tensors.count)
    for tensor in tensors {
      let expected = ExpectedTensor(
        name: tensor.name, dtype: tensor.type.dtype.name, shape: tensor.type.shape, data: try bytes(tensor))
      #expect(found.contains(expected), "\(tensor.name)")
    }
  }

  @Test(arguments: [0, 1, 7, 20, 50, 64, 100]) func `everything is aligned`(padding: Int) throws {
    let note = [("note", String(repeating: "x", count: padding))]
    let file = try write(try Self.tensors(), metadata: note)
    #expect(file.header.dataStart.isMultiple(of: 64))
    for tensor in file.tensors {
      #expect(
        tensor.offset.isMultiple(of: UInt64(try #require(tensor.type.dtype.elementBytes))), "\(tensor.name)")
    }
    // The padding is spaces after the JSON text, less than 64 of them.
    #expect(file.head.reversed().prefix { $0 == 0x20 }.count < 64)
    #expect(file.header.metadata.map(\.value) == note.map(\.1))
  }

  @Test func `the order of the input does not matter`() throws {
    let head = try write(try Self.tensors()).head
    for _ in 0..<5 { #expect(try write(try Self.tensors().shuffled()).head == head) }
  }

  @Test func `no tensors, and metadata that needs escapes`() throws {
    let metadata = [("format", "pt"), ("é\"\\\n\u{1B}", "\u{0}\u{7F}\u{2028}"), ("e\u{301}", "")]
    let file = try write([], metadata: metadata)
    #expect(file.tensors.isEmpty)
    #expect(file.header.metadata.map { ByteKey($0.key) } == metadata.map { ByteKey($0.0) })
    #expect(file.header.metadata.map { ByteKey($0.value) } == metadata.map { ByteKey($0.1) })
  }

  @Test func `blocks are refused`() throws {
    let geometry = try #require(BlockGeometry(scheme: 8, blockElements: 32, layout: .rows, fields: [2, 32]))
    let type = try #require(TensorType(dtype: .block, geometry: geometry, shape: [32]))
    let error = #expect(throws: FormatError.self) {
      _ = try write([NewEntry(tensor: "q", type: type, source: MemorySource(Array(0..<34)))])
    }
    #expect(error?.code == .invalidName && error?.description.contains("block-quantized") == true)
  }

  /// Gives some bytes and then fails.
  struct FailingSource: ByteSource {
    let limit: UInt64
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
      if offset + UInt64(buffer.count) > limit { throw FormatError(.chunkDamaged, entry: "source") }
      buffer.initializeMemory(as: UInt8.self, repeating: 7)
    }
  }

  @Test(arguments: [0, 1 << 20, 2 << 20] as [UInt64])
  func `a failing source leaves the old file`(limit: UInt64) throws {
    let type = try #require(TensorType(dtype: .u8, shape: [3 << 20]))
    let failing = NewEntry(tensor: "z", type: type, source: FailingSource(limit: limit))
    for old in [[:], [Self.path: [1, 2, 3]]] as [[String: [UInt8]]] {
      let system = SimulatedFileSystem(files: old)
      let error = #expect(throws: FormatError.self) {
        _ = try write([failing] + (try Self.tensors()), in: system)
      }
      #expect(error?.entry == "source")
      #expect(system.paths == Array(old.keys) && system.contents(Self.path) == old[Self.path])
    }
  }

  @Test(arguments: [SimulatedFileSystem.Operation.open, .write, .sync, .rename])
  func `a failing disk leaves the old file`(operation: SimulatedFileSystem.Operation) throws {
    for number in 0..<100 {
      let system = SimulatedFileSystem(files: [Self.path: [1, 2, 3]])
      system.fail(operation, at: number, code: 5)
      do {
        try SafetensorsWriter.write(Self.path, tensors: try Self.tensors(), in: system)
        #expect(number > 0, "nothing failed: the test is blind")
        return
      } catch let error as FormatError {
        #expect(error.code == .io)
        #expect(system.contents(Self.path) == [1, 2, 3] && system.paths == [Self.path])
      }
    }
  }

  @Test(arguments: [["a", "a"], ["__metadata__"], ["b\nc"], [""]])
  func `names that cannot be written`(names: [String]) throws {
    let tensors = try names.map { try Samples.tensor($0, .u8, [1], [1]) }
    let system = SimulatedFileSystem()
    #expect(throws: FormatError.self) {
      try SafetensorsWriter.write(Self.path, tensors: tensors, metadata: [("k", "v")], in: system)
    }
    #expect(system.paths.isEmpty)
  }
}
