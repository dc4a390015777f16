import LMoECore
import LMoEFormat
import Testing

/// The power may fail at any moment: the bundle is the old one or the new one, and the new one once the
/// command said so.
@Suite struct CrashTests {
  typealias Fate = SimulatedFileSystem.Snapshot.Fate

  /// A change under test.
  struct Change: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let run: @Sendable (SimulatedFileSystem) throws -> Void
  }

  static let changes: [Change] = [
    Change(testDescription: "add") { system in
      let writer = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
      try writer.addBank("expert/d", card: Samples.card("expert"), entries: try Samples.expert(40))
      try writer.commit(note: "add expert/d")
    },
    Change(testDescription: "remove") { system in
      let writer = try BundleWriter(appendingTo: Samples.path, options: Samples.options, in: system)
      try writer.removeBank("expert/b")
      try writer.commit(note: "remove expert/b")
    },
    Change(testDescription: "restore") { system in
      try BundleWriter.restore(Samples.path, generation: 1, options: Samples.options, in: system)
    },
    Change(testDescription: "compact") { system in
      var compaction = Compaction()
      compaction.options = Samples.options
      _ = try compaction.run(Samples.path, in: system)
    },
    Change(testDescription: "compact to raw") { system in
      var compaction = Compaction()
      compaction.options = Samples.options
      compaction.codec = .raw
      _ = try compaction.run(Samples.path, in: system)
    },
  ]

  @Test(arguments: changes)
  func `power failure`(change: Change) throws {
    let system = try Samples.bundle()
    let old = try LogicalContent(Bundle(path: Samples.path, in: system))
    let snapshots = Guarded<[SimulatedFileSystem.Snapshot]>([])
    system.onSync { snapshot in snapshots.withValue { $0.append(snapshot) } }
    try change.run(system)
    system.onSync(nil)
    let new = try LogicalContent(Bundle(path: Samples.path, in: system))
    #expect(new.generation == old.generation + 1)

    var outcomes: [UInt64: Int] = [:]
    for snapshot in snapshots.withValue({ $0 }) {
      for (fates, names) in Self.crashes(of: snapshot) {
        let files = snapshot.crash(fates, namesApplied: names)
        let after = SimulatedFileSystem(files: files)
        let content = try LogicalContent(Bundle(path: Samples.path, in: after))
        #expect(content == old || content == new)
        outcomes[content.generation, default: 0] += 1
      }
    }
    #expect(outcomes[old.generation, default: 0] > 0, "no crash left the old state: the test is blind")

    // Acknowledged: whatever is still pending cannot take it back.
    let last = system.snapshot()
    for (fates, _) in Self.crashes(of: last) {
      let after = SimulatedFileSystem(files: last.crash(fates, namesApplied: false))
      #expect(try LogicalContent(Bundle(path: Samples.path, in: after)) == new)
    }
  }

  @Test func `a change goes through after any crash, unless a generation may have been lost`() throws {
    let system = try Samples.bundle()
    let snapshots = Guarded<[SimulatedFileSystem.Snapshot]>([])
    system.onSync { snapshot in snapshots.withValue { $0.append(snapshot) } }
    try Self.changes[0].run(system)
    system.onSync(nil)
    var refused = 0
    for snapshot in snapshots.withValue({ $0 }) {
      for (fates, names) in Self.crashes(of: snapshot).prefix(400) {
        let after = SimulatedFileSystem(files: snapshot.crash(fates, namesApplied: names))
        let bundle = try Bundle(path: Samples.path, in: after)
        if let successor = bundle.successor {
          #expect(throws: FormatError.self) { try Self.changes[1].run(after) }
          // Either choice settles it.
          try BundleWriter.restore(
            Samples.path, generation: Bool.random() ? successor : bundle.generation, options: Samples.options,
            in: after)
          refused += 1
        }
        let before = try Bundle(path: Samples.path, in: after).generation
        try Self.changes[1].run(after)
        let content = try LogicalContent(Bundle(path: Samples.path, in: after))
        #expect(content.generation == before + 1)
        #expect(!content.banks.contains { $0.name == "expert/b" })
      }
    }
    #expect(refused > 0, "no crash destroyed a superblock: the test is blind")
  }

  /// Ways for the pending writes of a snapshot to end: each alone, all alike, and many at random.
  static func crashes(of snapshot: SimulatedFileSystem.Snapshot) -> [([Fate], Bool)] {
    let writes = snapshot.pendingWrites
    let count = writes.count
    var fates: [[Fate]] = [
      Array(repeating: .dropped, count: count), Array(repeating: .applied, count: count),
      Array(repeating: .garbled(seed: 1), count: count),
    ]
    func sectors(_ write: SimulatedFileSystem.Pending) -> Int {
      guard case .write(let offset, let bytes) = write else { return 1 }
      return (offset + max(bytes.count, 1) - 1) / 512 - offset / 512 + 1
    }
    for index in 0..<count {
      for fate in [Fate.dropped, .applied, .garbled(seed: 7)] {
        for rest in [Fate.dropped, .applied] {
          var some = Array(repeating: rest, count: count)
          some[index] = fate
          fates.append(some)
        }
      }
    }
    if count == 1, sectors(writes[0]) <= 8 {
      // A superblock's slot: every subset of its sectors.
      for mask in 0..<(1 << sectors(writes[0])) {
        fates.append([.torn(sectors: (0..<sectors(writes[0])).map { mask >> $0 & 1 == 1 })])
      }
    }
    var generator = SplitMix(seed: UInt64(count))
    for round in 0..<300 {
      fates.append(
        writes.map { write in
          switch generator.next() % 4 {
          case 0: .applied
          case 1: .dropped
          case 2: .garbled(seed: UInt64(round))
          default: .torn(sectors: (0..<sectors(write)).map { _ in generator.next() & 1 == 1 })
          }
        })
    }
    return fates.flatMap { [($0, false), ($0, true)] }
  }
}
