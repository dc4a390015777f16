import LMoECore
import LMoEFormat
import Testing

/// Adding, removing, renaming, restoring, compacting, sharing.
@Suite struct ChangeTests {
  private func append(
    _ system: SimulatedFileSystem, note: String = "change", codec: CodecPolicy = .planes,
    _ change: (BundleWriter) throws -> Void
  ) throws {
    var options = Samples.options
    options.codec = codec
    let writer = try BundleWriter(appendingTo: Samples.path, options: options, in: system)
    try change(writer)
    try writer.commit(note: note)
  }

  private func open(_ system: SimulatedFileSystem) throws -> Bundle {
    try Bundle(path: Samples.path, in: system)
  }

  @Test func `ids survive renaming, editing a card and compaction`() throws {
    let system = try Samples.bundle()
    let id = try open(system).bank("expert/b").id
    try append(system) { try $0.renameBank("expert/b", to: "expert/z") }
    try append(system) { try $0.replaceCard(of: "expert/z", with: ["card": 1, "kind": "expert", "x": 5]) }
    var compaction = Compaction()
    compaction.options = Samples.options
    _ = try compaction.run(Samples.path, in: system)
    let bundle = try open(system)
    #expect(try bundle.bank("expert/z").id == id)
    #expect(try bundle.card(of: bundle.bank("expert/z"))?["x"]?.int == 5)
    #expect(bundle.root.bank("expert/b") == nil)
  }

  @Test func `a card edit and a removal write kilobytes`() throws {
    let system = SimulatedFileSystem()
    let writer = try BundleWriter(creating: Samples.path, options: Samples.options, in: system)
    try writer.addBank(
      "base", card: Samples.card("base"),
      entries: [try Samples.tensor("w", .u8, [3_000_000], Samples.noise(3_000_000, seed: 1))])
    try writer.addBank("expert/a", card: Samples.card("expert"), entries: try Samples.expert(1))
    try writer.commit(note: "import")
    var before = system.bytesWritten
    try append(system) { try $0.replaceCard(of: "base", with: ["card": 1, "kind": "base", "n": 2]) }
    #expect(system.bytesWritten - before <= 3 * 4096)
    before = system.bytesWritten
    try append(system) { try $0.removeBank("expert/a") }
    #expect(system.bytesWritten - before <= 2 * 4096)
  }

  @Test func `history and restore`() throws {
    let system = try Samples.bundle()
    let history = try open(system).history()
    #expect(history.map(\.root.generation) == [3, 2, 1])
    #expect(history.map(\.root.note) == ["remove expert/a", "add expert/c", "import"])
    try BundleWriter.restore(Samples.path, generation: 1, options: Samples.options, in: system)
    let bundle = try open(system)
    #expect(bundle.generation == 4)
    #expect(bundle.banks == history[2].root.banks)
    #expect(try bundle.verify(decoding: true).isEmpty)
    let error = #expect(throws: FormatError.self) {
      try BundleWriter.restore(Samples.path, generation: 9, options: Samples.options, in: system)
    }
    #expect(error?.code == .noSuchGeneration)
    #expect(error?.expected == "1, 2, 3, 4")
  }

  @Test(arguments: [false, true])
  func `compaction drops what is dead and keeps what is not`(keepsHistory: Bool) throws {
    let system = try Samples.bundle()
    let before = try open(system)
    let old = try LogicalContent(before)
    var compaction = Compaction()
    compaction.options = Samples.options
    compaction.keepsHistory = keepsHistory
    let report = try compaction.run(Samples.path, in: system)
    let after = try open(system)
    let new = try LogicalContent(after)
    #expect(new.cards == old.cards)
    #expect(new.entries.map { $0.map(\.contentHash) } == old.entries.map { $0.map(\.contentHash) })
    #expect(new.banks.map(\.contentID) == old.banks.map(\.contentID))
    #expect(after.header == before.header)
    #expect(report.generation == 4 && report.bytesAfter == after.fileBytes)
    let history = try after.history()
    if keepsHistory {
      #expect(history.map(\.root.note) == ["compact", "remove expert/a", "add expert/c", "import"])
      try BundleWriter.restore(Samples.path, generation: 1, options: Samples.options, in: system)
      let restored = try open(system)
      #expect(restored.root.bank("expert/a") != nil)
      #expect(try restored.verify(decoding: true).isEmpty)
    } else {
      #expect(report.bytesAfter < report.bytesBefore)
      #expect(history.count == 1)
    }
  }

  @Test func `codec conversion there and back`() throws {
    let system = try Samples.bundle()
    let old = try LogicalContent(try open(system))
    for codec in [CodecPolicy.raw, .planes, .raw] {
      var compaction = Compaction()
      compaction.options = Samples.options
      compaction.codec = codec
      _ = try compaction.run(Samples.path, in: system)
      let bundle = try open(system)
      #expect(try bundle.bank("base").isRaw == (codec == .raw))
      #expect(try LogicalContent(bundle).banks.map(\.contentID) == old.banks.map(\.contentID))
    }
  }

  @Test func `compaction refuses to launder damage`() throws {
    let system = try Samples.bundle()
    let bundle = try open(system)
    let chunk = try #require(try bundle.manifest(of: bundle.bank("base")).tensor("embed")?.chunks.first)
    var bytes = try #require(system.contents(Samples.path))
    bytes[Int(chunk.offset)] ^= 1
    for codec in [nil, CodecPolicy.raw] {
      let damaged = SimulatedFileSystem(files: [Samples.path: bytes])
      var compaction = Compaction()
      compaction.options = Samples.options
      compaction.codec = codec
      let error = #expect(throws: FormatError.self) { _ = try compaction.run(Samples.path, in: damaged) }
      #expect(error?.code == .chunkDamaged)
      #expect(error?.entry == "embed")
      #expect(damaged.contents(Samples.path) == bytes)
      #expect(damaged.paths == [Samples.path])
    }
  }

  @Test func `equal tensors are stored once`() throws {
    let weights = Samples.bf16(20_000, seed: 1)
    let system = SimulatedFileSystem()
    let writer = try BundleWriter(creating: Samples.path, options: Samples.options, in: system)
    try writer.addBank(
      "base", card: Samples.card("base"),
      entries: [
        try Samples.tensor("embed", .bf16, [20_000], weights),
        try Samples.tensor("lm_head", .bf16, [200, 100], weights),
        // The same bytes as another type are other content.
        try Samples.tensor("other", .f16, [20_000], weights),
      ])
    try writer.addBank(
      "expert/a", card: Samples.card("expert"),
      entries: [try Samples.tensor("copy", .bf16, [20_000], weights)])
    try writer.commit(note: "import")
    let manifest = try open(system).manifest(of: open(system).bank("base"))
    #expect(manifest.tensor("embed")?.chunks == manifest.tensor("lm_head")?.chunks)
    #expect(manifest.tensor("embed")?.chunks != manifest.tensor("other")?.chunks)
    let before = system.bytesWritten
    try append(system) { writer in
      try writer.addBank(
        "expert/b", card: Samples.card("expert"),
        entries: [try Samples.tensor("again", .bf16, [20_000], weights)])
    }
    #expect(system.bytesWritten - before < 16_384)
    let bundle = try open(system)
    #expect(
      try bundle.manifest(of: bundle.bank("expert/b")).tensor("again")?.chunks
        == manifest.tensor("embed")?.chunks)
    #expect(try bundle.verify(decoding: true).isEmpty)
  }

  @Test func `a damaged twin is not shared with`() throws {
    let weights = Samples.bf16(20_000, seed: 1)
    let system = SimulatedFileSystem()
    let writer = try BundleWriter(creating: Samples.path, options: Samples.options, in: system)
    try writer.addBank(
      "base", card: Samples.card("base"), entries: [try Samples.tensor("w", .bf16, [20_000], weights)])
    try writer.commit(note: "import")
    let chunk = try #require(try open(system).manifest(of: open(system).bank("base")).tensor("w")?.chunks[0])
    var bytes = try #require(system.contents(Samples.path))
    bytes[Int(chunk.offset) + 9] ^= 1
    let damaged = SimulatedFileSystem(files: [Samples.path: bytes])
    try append(damaged) { writer in
      try writer.addBank(
        "expert/a", card: Samples.card("expert"),
        entries: [try Samples.tensor("w", .bf16, [20_000], weights)])
    }
    let found = try open(damaged).verify(decoding: true)
    #expect(found.map(\.bank) == ["base"])
  }

  @Test func `an external base`() throws {
    let system = SimulatedFileSystem()
    let writer = try BundleWriter(creating: Samples.path, options: Samples.options, in: system)
    let weights = Samples.bf16(5000, seed: 3)
    let bank = try writer.addBank(
      "base", card: Samples.card("base"),
      entries: [
        try Samples.tensor("w", .bf16, [5000], weights),
        try NewEntry(document: "files/config.json", bytes: [123, 125]),
      ], isExternal: true)
    try writer.commit(note: "import")
    let bundle = try open(system)
    let embedded = try Samples.tensor("w", .bf16, [5000], weights)
    let other = SimulatedFileSystem()
    let second = try BundleWriter(creating: Samples.path, options: Samples.options, in: other)
    #expect(
      try second.addBank("base", card: Samples.card("base"), entries: [embedded]).contentID == bank.contentID,
      "an external base has the same content id as an embedded one")
    #expect(try bundle.verify(decoding: true).isEmpty)
    #expect(try bundle.document("files/config.json", in: bank) == [123, 125])
    let entry = try #require(try bundle.manifest(of: bank).tensor("w"))
    #expect(entry.contentHash == Checksum.hash128(weights))
    let error = #expect(throws: FormatError.self) { _ = try bundle.bytes(of: entry, in: bank) }
    #expect(error?.code == .external)
    var compaction = Compaction()
    compaction.options = Samples.options
    compaction.codec = .raw
    _ = try compaction.run(Samples.path, in: system)
    #expect(try open(system).bank("base").isExternal)
  }

  @Test func `banks of unknown kinds survive everything`() throws {
    let system = try Samples.bundle()
    try append(system) { writer in
      try writer.addBank("future/thing", card: nil, entries: try Samples.expert(90))
    }
    let id = try open(system).bank("future/thing").contentID
    try append(system) { try $0.renameBank("expert/b", to: "expert/q") }
    try append(system) { try $0.removeBank("expert/q") }
    var compaction = Compaction()
    compaction.options = Samples.options
    _ = try compaction.run(Samples.path, in: system)
    #expect(try open(system).bank("future/thing").contentID == id)
  }
}
