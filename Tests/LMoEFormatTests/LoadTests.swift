import LMoECore
import LMoEFormat
import Testing

/// Entries brought into memory, from the map or decoded, are those that are stored, or an error.
@Suite struct LoadTests {
  private static let names = (0..<12).map { "tensor\(10 + $0)" }
  /// Shared by all cases: their threads live as long as the process.
  private static let pools = [1, 2, 5].map { WorkerPool(count: $0) }
  private static let pair = pools[1]

  private func pool(of workers: Int) throws -> WorkerPool {
    try #require(Self.pools.first { $0.count == workers })
  }

  /// Tensors of one chunk and of many, raw or in planes, and one without bytes.
  private func bundle(
    _ codec: CodecPolicy, _ options: BundleOptions = BundleOptions(), damaging names: [String] = []
  ) throws -> Bundle {
    let system = SimulatedFileSystem()
    var writing = Samples.options
    (writing.codec, writing.chunkBytes) = (codec, 512)
    var entries = try Self.names.enumerated().map { index, name in
      let count = 16 + 200 * (index % 4) * index
      return try Samples.tensor(name, .bf16, [UInt64(count)], Samples.bf16(count, seed: UInt64(index)))
    }
    entries.append(try Samples.tensor("empty", .f32, [0, 3], []))
    let writer = try BundleWriter(creating: Samples.path, options: writing, in: system)
    try writer.addBank("base", card: Samples.card("base"), entries: entries)
    try writer.commit(note: "test")
    var bytes = try #require(system.contents(Samples.path))
    let whole = try Bundle(path: Samples.path, in: system)
    for name in names {
      let entry = try #require(try whole.manifest(of: whole.bank("base")).tensor(name))
      bytes[Int(try #require(entry.chunks.last).offset)] ^= 0x10
    }
    return try Bundle(
      path: Samples.path, options: options, in: SimulatedFileSystem(files: [Samples.path: bytes]))
  }

  private func items(_ bundle: Bundle) throws -> [BankedEntry] {
    try bundle.manifest(of: bundle.bank("base")).entries.map { BankedEntry(bank: "base", entry: $0) }
  }

  @Test(arguments: [CodecPolicy.raw, .planes], [1, 2, 5])
  func `the bytes that decoding gives`(codec: CodecPolicy, workers: Int) throws {
    let pool = try pool(of: workers)
    for usesMap in [true, false] {
      var options = BundleOptions()
      options.usesMap = usesMap
      let bundle = try bundle(codec, options)
      let items = try items(bundle)
      let loaded = try bundle.load(items, on: pool) { _ in 2 }
      #expect(loaded.count == items.count)
      var decoded = 0
      for (item, place) in zip(items, loaded) {
        #expect(try Array(place.bytes) == bundle.bytes(of: item.entry, in: bundle.bank("base")))
        #expect(place.isMapped == (usesMap && item.entry.isRawExtent && !item.entry.chunks.isEmpty))
        if !place.isMapped { decoded += 1 }
      }
      #expect(decoded == (codec == .raw && usesMap ? 1 : decoded) && decoded > 0)
    }
  }

  @Test func `an address that does not fit is not used from the map`() throws {
    let bundle = try bundle(.raw)
    let items = try items(bundle)
    #expect(try bundle.load(items, on: Self.pair) { _ in 1 << 40 }.allSatisfy { !$0.isMapped })
    #expect(try bundle.load(items, on: Self.pair) { _ in nil }.allSatisfy { !$0.isMapped })
  }

  @Test(arguments: [CodecPolicy.raw, .planes], [1, 2, 5])
  func `of several that are damaged, the first is told`(codec: CodecPolicy, workers: Int) throws {
    let pool = try pool(of: workers)
    for damaged in [["tensor13"], ["tensor21", "tensor13"], ["tensor17", "tensor18", "tensor19"]] {
      for alignment in [2, nil] {
        let bundle = try bundle(codec, damaging: damaged)
        let error = #expect(throws: FormatError.self) {
          try bundle.load(items(bundle), on: pool) { _ in alignment }
        }
        #expect(error?.code == .chunkDamaged && error?.bank == "base" && error?.path == Samples.path)
        #expect(error?.entry == damaged.min())
      }
    }
  }

  @Test func `without verification, a map is taken as it is`() throws {
    var options = BundleOptions()
    options.verification = .off
    let bundle = try bundle(.raw, options, damaging: ["tensor13"])
    let loaded = try bundle.load(items(bundle), on: Self.pair) { _ in 2 }
    let isMapped = loaded.map(\.isMapped)
    #expect(isMapped.contains(true))
  }
}
