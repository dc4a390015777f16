import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// The state of an interrupted run: it comes back as it was, or it is an error.
@Suite struct TrainingStateTests {
  private static let path = "run.train"

  private static let bundle = GateCardTests.id("c")

  private static func card(_ step: Int) throws -> TrainingCard {
    let stamps = ["expert/x", "gate/default"].map { name -> JSON in
      [
        "bank": .string(name), "id": .string("\(GateCardTests.id("a"))"),
        "content_id": .string("\(GateCardTests.id("b"))"), "card_hash": nil,
      ]
    }
    return TrainingCard(
      step: step, bundle: bundle, banks: try stamps.map { try #require(BankStamp($0)) },
      run: ["tokens": 12, "cursor": ["file": 1, "offset": 99], "options": ["rate": .double(0.001)]])
  }

  private static let shapes = [
    ("value/w", [3, 5]), ("first/w", [3, 5]), ("second/w", [3, 5]), ("value/b", [7]),
  ]

  private static func tensors(_ seed: UInt64) -> [FloatTensor] {
    shapes.enumerated().map { TrainingSamples.tensor($1.0, $1.1, seed: seed + UInt64($0)) }
  }

  private static func values(_ seed: UInt64) -> [[Float]] {
    shapes.enumerated().map { TrainingSamples.values($1.1.reduce(1, *), seed: seed + UInt64($0)) }
  }

  private static func save(
    _ step: Int, best: TrainingState.Best = .kept, in system: any FileSystem, to path: String = path
  ) throws {
    try TrainingState.save(
      try card(step), tensors(UInt64(step)), best: best, to: path, options: TrainingSamples.options,
      in: system)
  }

  /// What a state says and holds.
  private struct Content: Equatable {
    let step: Int
    let values: [[Float]]
    let best: [Float]?

    init(_ system: any FileSystem, _ path: String = TrainingStateTests.path) throws {
      let state = try TrainingState(path: path, in: system)
      step = state.last.card.step
      var memory = TrainingStateTests.shapes.map { [Float](repeating: .nan, count: $0.1.reduce(1, *)) }
      var slots: [FloatSlot] = []
      for index in memory.indices {
        memory[index].withUnsafeMutableBufferPointer {
          slots.append(
            FloatSlot(
              TrainingStateTests.shapes[index].0, shape: TrainingStateTests.shapes[index].1, memory: $0))
        }
      }
      try state.last.read(into: slots, on: WorkerPool(count: 1))
      values = memory
      best = try state.best?.values(of: "value/w", on: WorkerPool(count: 1))
    }

    init(step: Int, best: [Float]?) {
      (self.step, values, self.best) = (step, TrainingStateTests.values(UInt64(step)), best)
    }
  }

  private static func best(_ seed: UInt64) throws -> TrainingState.Best {
    .new(try card(3), [TrainingSamples.tensor("value/w", [3, 5], seed: seed)])
  }

  @Test func `a state comes back`() throws {
    let scratch = try Scratch()
    let path = scratch.path("run.train")
    try Self.save(10, in: PosixFileSystem(), to: path)
    #expect(try Content(PosixFileSystem(), path) == Content(step: 10, best: nil))
    try Self.save(20, best: try Self.best(5), in: PosixFileSystem(), to: path)
    let best = TrainingSamples.values(15, seed: 5)
    #expect(try Content(PosixFileSystem(), path) == Content(step: 20, best: best))
    try Self.save(30, in: PosixFileSystem(), to: path)
    #expect(try Content(PosixFileSystem(), path) == Content(step: 30, best: best))

    let state = try TrainingState(path: path)
    let expected = try Self.card(30)
    #expect(state.last.card.bundle == Self.bundle && state.last.card.run == expected.run)
    #expect(state.last.card.banks == expected.banks && expected.banks.count == 2)
    #expect(state.best?.card.step == 3)
    #expect(state.last.tensors.map(\.name) == Self.shapes.map(\.0).sorted())
    try Self.save(40, best: .none, in: PosixFileSystem(), to: path)
    #expect(try Content(PosixFileSystem(), path) == Content(step: 40, best: nil))

    // In the same container, stored raw.
    let bundle = try Bundle(path: path)
    #expect(try bundle.verify(decoding: true) == [])
    #expect(bundle.banks.map(\.name) == ["training/last"] && bundle.banks.allSatisfy(\.isRaw))
    #expect(try bundle.history().count == 1)
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["run.train"])
  }

  @Test func `values where they are`() throws {
    let system = SimulatedFileSystem()
    let values = TrainingSamples.values(300_000, seed: 1)
    try values.withUnsafeBufferPointer { memory in
      try TrainingState.save(
        try Self.card(1), [FloatTensor("value/w", shape: [300, 1000], borrowing: memory)], to: Self.path,
        in: system)
    }
    let state = try TrainingState(path: Self.path, in: system)
    #expect(try state.last.values(of: "value/w") == values)
  }

  @Test func `what does not fit is named`() throws {
    let system = SimulatedFileSystem()
    try Self.save(1, in: system)
    let state = try TrainingState(path: Self.path, in: system)
    func refusal(_ slots: [(String, [Int])]) -> String {
      var memory = [Float](repeating: 0, count: 64)
      return memory.withUnsafeMutableBufferPointer { memory in
        let slots = slots.map {
          FloatSlot(
            $0.0, shape: $0.1, memory: UnsafeMutableBufferPointer(rebasing: memory[..<$0.1.reduce(1, *)]))
        }
        do { try state.last.read(into: slots) } catch { return "\(error)" }
        return ""
      }
    }
    #expect(refusal(Self.shapes) == "")
    let rest = "go on with the options that it was begun with, or begin anew with another file"
    #expect(
      refusal(Self.shapes + [("value/c", [1])])
        == "run.train has no tensor \"value/c\", which this run trains; \(rest)")
    #expect(
      refusal(Array(Self.shapes.dropLast()))
        == "run.train has a tensor \"value/b\", which this run does not train; \(rest)")
    #expect(
      refusal(Self.shapes.map { ($0.0, $0.1 == [7] ? [1, 7] : $0.1) })
        == "run.train: the tensor \"value/b\" has the shape [7], and this run has [1, 7]; \(rest)")
    let error = #expect(throws: TrainingStateError.self) { try state.last.values(of: "x") }
    #expect(error?.code == .missingTensor)
    let short = #expect(throws: TrainingStateError.self) {
      try TrainingState.save(
        try Self.card(1), [FloatTensor("v", shape: [2, 2], values: [1])], to: Self.path, in: system)
    }
    #expect(short?.code == .notSaved)
    #expect(try Content(system) == Content(step: 1, best: nil))
  }

  @Test func `every byte is checked`() throws {
    let system = SimulatedFileSystem()
    try Self.save(1, best: try Self.best(2), in: system)
    let whole = try Content(system)
    let bytes = try #require(system.contents(Self.path))
    var refused = 0
    for place in stride(from: 0, to: bytes.count, by: 37) where bytes[place] != 0 || place > 65_536 {
      var damaged = bytes
      damaged[place] ^= 0x10
      let after = SimulatedFileSystem(files: [Self.path: damaged])
      // A flipped bit is repaired or refused, and never taken for a number.
      do { #expect(try Content(after) == whole, "\(place)") } catch let error as TrainingStateError {
        #expect(error.code == .damaged || error.code == .notAState, "\(error)")
        refused += 1
      }
    }
    #expect(refused > 20)
    let cut = SimulatedFileSystem(files: [Self.path: Array(bytes.dropLast(5000))])
    let error = #expect(throws: TrainingStateError.self) { try TrainingState(path: Self.path, in: cut) }
    #expect(error?.description.hasPrefix("run.train is the damaged state of a training run (") == true)
    // A damaged one is replaced, unless something of it is to stay.
    #expect(throws: TrainingStateError.self) { try Self.save(2, in: cut) }
    try Self.save(2, best: .none, in: cut)
    #expect(try Content(cut) == Content(step: 2, best: nil))
  }

  @Test func `a file of another kind is not replaced`() throws {
    for bytes in [[], Array("a diary".utf8), [UInt8](repeating: 7, count: 70_000)] {
      let system = SimulatedFileSystem(files: [Self.path: bytes])
      for best in [TrainingState.Best.none, .kept] {
        let error = #expect(throws: TrainingStateError.self) { try Self.save(1, best: best, in: system) }
        #expect(error?.code == .notAState)
      }
      #expect(system.contents(Self.path) == bytes)
      #expect(throws: TrainingStateError.self) { try TrainingState(path: Self.path, in: system) }
    }
    let bundle = try TrainingSamples.bundle()
    let before = bundle.contents(TrainingSamples.path)
    let error = #expect(throws: TrainingStateError.self) {
      try Self.save(1, in: bundle, to: TrainingSamples.path)
    }
    #expect(error?.code == .notAState)
    #expect(bundle.contents(TrainingSamples.path) == before && bundle.paths == [TrainingSamples.path])
  }

  @Test(arguments: [
    SimulatedFileSystem.Operation.read, .write, .sync, .rename, .syncDirectory, .reserve, .open,
  ])
  func `an error at every single operation`(operation: SimulatedFileSystem.Operation) throws {
    var failures = 0
    for number in 0..<60 {
      let system = SimulatedFileSystem()
      try Self.save(1, best: try Self.best(2), in: system)
      let old = try Content(system)
      let new = Content(step: 2, best: old.best)
      system.fail(operation, at: number, code: 5)
      var failure: TrainingStateError?
      do { try Self.save(2, in: system) } catch let error as TrainingStateError { failure = error }
      system.fail(operation, at: .max, code: 0)
      #expect(system.paths == [Self.path])
      guard let failure else {
        #expect(try Content(system) == new)
        continue
      }
      failures += 1
      #expect(failure.isInputOutput)
      if failure.code == .uncertain {
        #expect(try Content(system) == new)
      } else {
        #expect(failure.code == .notSaved && failure.description.contains("what was there is as it was"))
        #expect(try Content(system) == old)
      }
      try Self.save(3, in: system)
      #expect(try Content(system) == Content(step: 3, best: old.best))
    }
    #expect(failures > 0)
  }

  @Test func `a disk that fills up`() throws {
    let probe = SimulatedFileSystem()
    try Self.save(1, in: probe)
    let size = try #require(probe.contents(Self.path)).count
    for capacity in stride(from: size, to: 2 * size, by: size / 23) {
      let system = SimulatedFileSystem(files: [Self.path: try #require(probe.contents(Self.path))])
      system.setCapacity(capacity)
      let error = #expect(throws: TrainingStateError.self) { try Self.save(2, in: system) }
      #expect(error?.code == .notSaved)
      #expect(error?.description.contains("the disk is full; free some space") == true)
      #expect(try Content(system) == Content(step: 1, best: nil))
      #expect(system.paths == [Self.path])
    }
  }

  @Test func `the power fails at any moment`() throws {
    let system = SimulatedFileSystem()
    try Self.save(1, best: try Self.best(2), in: system)
    let old = try Content(system)
    let snapshots = Guarded<[SimulatedFileSystem.Snapshot]>([])
    system.onSync { snapshot in snapshots.withValue { $0.append(snapshot) } }
    try Self.save(2, in: system)
    system.onSync(nil)
    let new = try Content(system)
    #expect(new == Content(step: 2, best: old.best))
    var outcomes: [Int: Int] = [:]
    for snapshot in snapshots.withValue({ $0 }) {
      for (fates, names) in powerFailures(of: snapshot) {
        let after = SimulatedFileSystem(files: snapshot.crash(fates, namesApplied: names))
        let content = try Content(after)
        #expect(content == old || content == new)
        outcomes[content.step, default: 0] += 1
        // The next save removes what is left of the one that was cut off.
        try Self.save(3, in: after)
        #expect(after.paths == [Self.path])
      }
    }
    #expect(outcomes[1, default: 0] > 0 && outcomes[2, default: 0] > 0, "the test is blind: \(outcomes)")
    for (fates, _) in powerFailures(of: system.snapshot()) {
      let after = SimulatedFileSystem(files: system.snapshot().crash(fates, namesApplied: false))
      #expect(try Content(after) == new, "it was acknowledged")
    }
  }

  @Test func `two runs on one file`() throws {
    let scratch = try Scratch()
    let path = scratch.path("run.train")
    let other = try BundleWriter(creating: path, resumes: true)
    let error = #expect(throws: TrainingStateError.self) { try Self.save(1, in: PosixFileSystem(), to: path) }
    #expect(error?.cause?.code == .locked)
    other.abort()
    try Self.save(1, in: PosixFileSystem(), to: path)
    #expect(try Content(PosixFileSystem(), path).step == 1)
  }
}
