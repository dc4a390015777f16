import LMoECore
import LMoEFormat
import Testing

/// A superblock is lost for good: which generation stands is the user's to say, and nothing is lost by asking.
@Suite struct SuccessorTests {
  /// A bundle whose newest superblock is gone, with its newest root in what is now the tail.
  private func damaged() throws -> SimulatedFileSystem {
    let system = try Samples.bundle()
    var bytes = try #require(system.contents(Samples.path))
    bytes.replaceSubrange(0x8000..<0x9000, with: [UInt8](repeating: 0x55, count: 4096))
    return SimulatedFileSystem(files: [Samples.path: bytes])
  }

  private func open(_ system: SimulatedFileSystem) throws -> Bundle {
    try Bundle(path: Samples.path, in: system)
  }

  @Test func `a wrong choice destroys nothing`() throws {
    let system = try damaged()
    let before = system.contents(Samples.path)
    for generation: UInt64 in [1, 4, 60] {
      #expect(throws: FormatError.self) {
        try BundleWriter.restore(Samples.path, generation: generation, options: Samples.options, in: system)
      }
      #expect(system.contents(Samples.path) == before)
    }
    system.fail(.sync, at: 0, code: 5)
    #expect(throws: FormatError.self) {
      try BundleWriter.restore(Samples.path, generation: 3, options: Samples.options, in: system)
    }
    #expect(system.contents(Samples.path) == before)
    system.fail(.sync, at: .max, code: 0)
    #expect(try open(system).successor == 3)
    try BundleWriter.restore(Samples.path, generation: 3, options: Samples.options, in: system)
    #expect(try open(system).generation == 3)
    #expect(try open(system).successor == nil)
  }

  @Test func `a successor that names what is not there is not published`() throws {
    // A root can reach the disk before the bytes that it names.
    let system = try Samples.bundle()
    let bundle = try Bundle(path: Samples.path, in: system)
    let writer = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
    try writer.addBank("expert/d", card: Samples.card("expert"), entries: try Samples.expert(40))
    try writer.commit(note: "add")
    var bytes = try #require(system.contents(Samples.path))
    let added = try Bundle(path: Samples.path, in: system)
    let entry = try #require(try added.manifest(of: added.bank("expert/d")).tensor("q.lora_A.weight"))
    bytes[Int(entry.chunks[0].offset)] ^= 1
    bytes.replaceSubrange(0x4000..<0x5000, with: [UInt8](repeating: 0x55, count: 4096))
    let torn = SimulatedFileSystem(files: [Samples.path: bytes])
    #expect(try open(torn).successor == bundle.generation + 1)
    let error = #expect(throws: FormatError.self) {
      try BundleWriter.restore(
        Samples.path, generation: bundle.generation + 1, options: Samples.options, in: torn)
    }
    #expect(error?.code == .chunkDamaged)
    #expect(torn.contents(Samples.path) == bytes)
    try BundleWriter.restore(Samples.path, generation: bundle.generation, options: Samples.options, in: torn)
    #expect(try open(torn).banks == bundle.banks)
  }

  @Test func `an append under way is not a lost superblock`() throws {
    // A fresh file has one empty slot, so a root in the tail is looked for.
    let system = SimulatedFileSystem()
    let first = try BundleWriter(creating: Samples.path, options: Samples.options, in: system)
    try first.addBank("base", card: Samples.card("base"), entries: [])
    try first.commit(note: "import")
    let seen = Guarded<[UInt64?]>([])
    system.onSync { _ in
      if let bundle = try? Bundle(path: Samples.path, in: system) {
        seen.withValue { $0.append(bundle.successor) }
      }
    }
    let writer = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
    try writer.addBank("expert/d", card: Samples.card("expert"), entries: try Samples.expert(40))
    try writer.commit(note: "add")
    #expect(seen.withValue { $0.count } == 2)
    #expect(seen.withValue { $0.allSatisfy { $0 == nil } })
  }
}
