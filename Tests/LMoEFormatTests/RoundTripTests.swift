import LMoECore
import LMoEFormat
import Testing

/// What goes in comes out, bit for bit, in either codec.
@Suite struct RoundTripTests {
  private func roundTrip(
    _ entries: [NewEntry], codec: CodecPolicy, chunkBytes: Int = 1 << 20, workers: Int = 2
  ) throws -> [String: [UInt8]] {
    let system = SimulatedFileSystem()
    var options = Samples.options
    options.codec = codec
    options.chunkBytes = chunkBytes
    options.pool = WorkerPool(count: workers)
    let writer = try BundleWriter(creating: Samples.path, options: options, in: system)
    try writer.addBank("base", card: Samples.card("base"), entries: entries)
    try writer.commit(note: "test")
    let bundle = try Bundle(path: Samples.path, in: system)
    #expect(try bundle.verify(decoding: true).isEmpty)
    let bank = try bundle.bank("base")
    if codec == .raw { #expect(bank.isRaw) }
    var result: [String: [UInt8]] = [:]
    for entry in try bundle.manifest(of: bank).entries {
      result[entry.name] = try bundle.bytes(of: entry, in: bank)
      if codec == .raw, entry.type.rawBytes > 0 {
        let mapped = try #require(try bundle.mappedBytes(of: entry, in: bank))
        #expect(Array(mapped.region.bytes[mapped.range]) == result[entry.name])
      }
    }
    return result
  }

  /// Bytes of every character: weights, noise, constants, sparse, special floats.
  private static func contents(_ dtype: DType, _ count: Int) -> [(String, [UInt8])] {
    let width = dtype.elementBytes ?? 1
    let bytes = count * width
    let special: [UInt8] = [
      0x00, 0x00, 0x80, 0x80, 0x00, 0xFF, 0x7F, 0x80, 0x01, 0x00, 0xC0, 0x7F, 0xFF, 0xFF, 0x00, 0x01, 0xA5,
    ]
    var sparse = [UInt8](repeating: 0, count: bytes)
    for (index, byte) in Samples.noise(bytes / 12, seed: 5).enumerated() { sparse[index * 12] = byte }
    return [
      ("weights", Array(Samples.f32(count * 2, seed: 3).prefix(bytes))),
      ("noise", Samples.noise(bytes, seed: 4)), ("zeros", [UInt8](repeating: 0, count: bytes)),
      ("ones", [UInt8](repeating: 0xFF, count: bytes)), ("sparse", sparse),
      ("special", (0..<bytes).map { special[$0 % special.count] }),
    ]
  }

  @Test(arguments: DType.allCases.filter { $0 != .block }, [CodecPolicy.raw, .planes])
  func `every dtype`(dtype: DType, codec: CodecPolicy) throws {
    for count in [0, 1, 7, 63, 64, 65, 1000, 4099] {
      var entries: [NewEntry] = []
      for (name, bytes) in Self.contents(dtype, count) {
        let width = dtype.elementBytes ?? 1
        let whole = (bytes + [UInt8](repeating: 0, count: width * count)).prefix(width * count)
        entries.append(try Samples.tensor(name, dtype, [UInt64(count)], Array(whole)))
      }
      let result = try roundTrip(entries, codec: codec, chunkBytes: 2048)
      for entry in entries {
        var expected = [UInt8](repeating: 0, count: entry.type.rawBytes)
        try expected.withUnsafeMutableBytes { try entry.source.read(into: $0, at: 0) }
        #expect(result[entry.name] == expected, "\(dtype.name) × \(count), \(entry.name)")
      }
    }
  }

  @Test func `scalars, empty tensors and high ranks`() throws {
    let entries = [
      try Samples.tensor("scalar", .f64, [], Samples.noise(8, seed: 1)),
      try Samples.tensor("empty", .f32, [0], []), try Samples.tensor("empty2", .bf16, [3, 0, 5], []),
      try Samples.tensor("eight", .u8, [1, 2, 1, 2, 1, 2, 1, 2], Samples.noise(16, seed: 2)),
    ]
    let result = try roundTrip(entries, codec: .planes)
    #expect(result["scalar"] == Samples.noise(8, seed: 1))
    #expect(result["empty2"]?.isEmpty == true)
    #expect(result["eight"] == Samples.noise(16, seed: 2))
  }

  @Test(arguments: [CodecPolicy.raw, .planes])
  func `block-quantized tensors`(codec: CodecPolicy) throws {
    let q4 = try #require(BlockGeometry(scheme: 2, blockElements: 32, layout: .rows, fields: [2, 16]))
    let flat = try #require(BlockGeometry(scheme: 0, blockElements: 10, layout: .flat, fields: [1, 3, 7]))
    let rows = try #require(TensorType(dtype: .block, geometry: q4, shape: [300, 64]))
    let odd = try #require(TensorType(dtype: .block, geometry: flat, shape: [3, 7]))
    #expect(rows.rawBytes == 300 * 2 * 18)
    #expect(odd.rawBytes == 3 * 11)
    // Scales alike, quants noise: the case that struct-split is for.
    let blocks: [UInt8] = (0..<600).flatMap { block -> [UInt8] in
      [7, 0x2C] + Samples.noise(16, seed: UInt64(block))
    }
    let entries = [
      NewEntry(tensor: "rows", type: rows, source: MemorySource(blocks)),
      NewEntry(tensor: "odd", type: odd, source: MemorySource(Samples.noise(33, seed: 9))),
    ]
    let result = try roundTrip(entries, codec: codec, chunkBytes: 1000)
    #expect(result["rows"] == blocks)
    #expect(result["odd"] == Samples.noise(33, seed: 9))
  }

  @Test func `names in any script, and names that differ only in bytes`() throws {
    let names = ["é", "e\u{301}", "権重", "вес", "🧠/λ.weight", "a b", String(repeating: "x", count: 1024)]
    let entries = try names.enumerated().map { index, name in
      try Samples.tensor(name, .u8, [1], [UInt8(index)])
    }
    let system = SimulatedFileSystem()
    let writer = try BundleWriter(creating: Samples.path, options: Samples.options, in: system)
    try writer.addBank("expert/é", card: Samples.card("expert"), entries: entries)
    try writer.addBank("expert/e\u{301}", card: Samples.card("expert"), entries: [])
    try writer.commit(note: "names")
    let bundle = try Bundle(path: Samples.path, in: system)
    let bank = try bundle.bank("expert/é")
    #expect(bank.tensorCount == 7)
    #expect(try bundle.bank("expert/e\u{301}").tensorCount == 0)
    for (index, name) in names.enumerated() {
      let entry = try #require(try bundle.manifest(of: bank).tensor(name))
      #expect(try bundle.bytes(of: entry, in: bank) == [UInt8(index)])
    }
  }

  @Test(arguments: ["", "a\u{0}b", "a\nb", "a/../b", "..", String(repeating: "x", count: 1025), "\u{85}"])
  func `names that are refused`(name: String) throws {
    let system = SimulatedFileSystem()
    let writer = try BundleWriter(creating: Samples.path, options: Samples.options, in: system)
    let error = #expect(throws: FormatError.self) {
      try writer.addBank(
        "base", card: Samples.card("base"), entries: [try Samples.tensor(name, .u8, [1], [1])])
    }
    #expect(error?.code == .invalidName)
    #expect(system.paths.isEmpty)
  }

  @Test func `ten thousand tensors and a thousand experts`() throws {
    let system = SimulatedFileSystem()
    let writer = try BundleWriter(creating: Samples.path, options: Samples.options, in: system)
    try writer.addBank(
      "base", card: Samples.card("base"),
      entries: try (0..<10_000).map {
        try Samples.tensor(
          "layer.\($0)", .u16, [3], [UInt8($0 & 255), UInt8($0 >> 8), 0, 1, 2, 3])
      })
    for index in 0..<1000 {
      try writer.addBank(
        "expert/\(index)", card: Samples.card("expert"),
        entries: [try Samples.tensor("w", .f32, [4], Samples.noise(16, seed: UInt64(index)))])
    }
    try writer.commit(note: "many")
    let bundle = try Bundle(path: Samples.path, in: system)
    #expect(bundle.banks.count == 1001)
    #expect(try bundle.verify(decoding: false).isEmpty)
    let last = try bundle.bank("expert/999")
    let entry = try #require(try bundle.manifest(of: last).tensor("w"))
    #expect(try bundle.bytes(of: entry, in: last) == Samples.noise(16, seed: 999))
    // One more costs one more, not a thousand.
    let before = system.bytesWritten
    let appender = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
    try appender.addBank("expert/new", card: Samples.card("expert"), entries: try Samples.expert(7))
    try appender.commit(note: "one")
    #expect(system.bytesWritten - before < 1002 * (BankEntryBytes.fixed + 16) + 16_384)
  }

  private enum BankEntryBytes { static let fixed = 128 }

  @Test func `the file does not depend on the number of workers`() throws {
    var files: [[UInt8]] = []
    for workers in [1, 2, 5] {
      let system = SimulatedFileSystem()
      var options = Samples.options
      options.pool = WorkerPool(count: workers)
      options.chunkBytes = 4096
      let header = Header.fixed
      let writer = try BundleWriter(
        creating: Samples.path, header: header, options: options, in: system)
      try writer.addBank(
        "base", id: Bits128(high: 1, low: 1), card: Samples.card("base"),
        entries: [
          try Samples.tensor("a", .bf16, [50_000], Samples.bf16(50_000, seed: 1)),
          try Samples.tensor("b", .f32, [30_000], Samples.f32(30_000, seed: 2)),
          try Samples.tensor("c", .u8, [40_000], Samples.noise(40_000, seed: 3)),
        ])
      try writer.commit(note: "x")
      files.append(try #require(system.contents(Samples.path)))
    }
    #expect(files[0] == files[1])
    #expect(files[0] == files[2])
  }
}

extension Header {
  /// An identity that is the same in every run.
  static let fixed = Header(fileUUID: Bits128(high: 7, low: 7), createdNanoseconds: 1)
}
