import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Trained values reach the bundle all together, and only if what was trained is still what it was.
@Suite struct PublishingTests {
  private func open(_ system: SimulatedFileSystem, _ path: String = TrainingSamples.path) throws -> Bundle {
    let bundle = try Bundle(path: path, in: system)
    #expect(try bundle.verify(decoding: true, on: WorkerPool(count: 1)) == [])
    return bundle
  }

  /// Everything that the bundle with the trained weights must have.
  private func expectTrained(_ after: Bundle, from before: Bundle, as x: String = "x") throws {
    let (a, b) = (GateCardTests.id("a"), GateCardTests.id("b"))
    let bank = try after.bank("expert/" + x)
    #expect(try bank.id == before.bank("expert/x").id)
    for (letter, seed) in [("A", 1), ("B", 2)] {
      #expect(
        try TrainingSamples.floats(TrainingSamples.factor(letter), of: bank.name, in: after)
          == TrainingSamples.values(8, seed: UInt64(seed)))
    }
    let manifest = try after.manifest(of: bank)
    #expect(manifest.tensors.count == 2 && manifest.documents.map(\.name) == ["files/README.md"])
    let card = try #require(try after.card(of: bank))
    #expect(card["note"] == "kept" && card["dtypes"] == ["F32": 16])
    #expect(card["training"]?["step"] == 400 && card["training"]?["loss"]?.double == 1.25)
    #expect(
      card["training"]?["trained"] == ["gate/default", "gate/given", .string("expert/" + x)])
    let group = try #require(ModuleGroup.groups(ofCard: card)?.first)
    let norm = try #require(group.norms.first ?? nil)
    #expect(abs(norm - Self.norm) < 1e-6 * Self.norm && norm > 0)
    #expect(card["norm"]?.double == norm)

    let learned = try after.gate(named: "default")
    #expect(try learned.bank.id == before.bank("gate/default").id)
    #expect(try learned.rows()[ByteKey(TrainingSamples.q)] == [a: [5, 6, 7, 8, 9], b: [1, 2, 3, 4, 0]])
    #expect(learned.card["provenance"]?["initialiser"] == "random")
    #expect(learned.card["provenance"]?["trained"]?["tokens"] == 51_200)
    #expect(
      try after.gate(named: "given").gate.score
        == .constant(.given([.init(expert: a, value: 0.5), .init(expert: b, value: -2)])))
  }

  /// ‖B·A‖ of the new values, the long way.
  private static var norm: Double {
    let (a, b) = (TrainingSamples.values(8, seed: 1), TrainingSamples.values(8, seed: 2))
    var sum = 0.0
    for row in 0..<4 {
      for column in 0..<4 {
        let product = (0..<2).reduce(0.0) {
          $0 + Double(b[row * 2 + $1]) * Double(a[$1 * 4 + column])
        }
        sum += product * product
      }
    }
    return sum.squareRoot()
  }

  @Test func `all of it is one generation`() throws {
    let system = try TrainingSamples.bundle()
    let before = try open(system)
    let published = try TrainingSamples.weights.publish(
      to: TrainingSamples.path, expecting: try TrainingSamples.stamps(before),
      options: TrainingSamples.options, in: system)
    let after = try open(system)
    #expect(after.generation == 2 && published.generation == 2)
    #expect(after.root.note == "train gate/default, gate/given, expert/x (400 steps)")
    try expectTrained(after, from: before)
    #expect(try after.bank("expert/y") == before.bank("expert/y"))
    #expect(try after.bank("base") == before.bank("base"))
    #expect(
      try published.stamps
        == ["gate/default", "gate/given", "expert/x"].map { BankStamp(try after.bank($0)) })

    // The next publication goes by the stamps of this one.
    try TrainingSamples.weights.publish(
      to: TrainingSamples.path, expecting: published.stamps, options: TrainingSamples.options, in: system)
    #expect(try open(system).generation == 3)
    // And what was there before training can be had again.
    try BundleWriter.restore(
      TrainingSamples.path, generation: 1, options: TrainingSamples.options, in: system)
    #expect(try open(system).banks == before.banks)
  }

  @Test func `a copy`() throws {
    let system = try TrainingSamples.bundle()
    let before = try open(system)
    let bytes = system.contents(TrainingSamples.path)
    var weights = TrainingSamples.weights
    weights.newGates = [.init("made", NewGate(.uniform, initialiser: "uniform"))]
    let published = try weights.publish(
      to: TrainingSamples.path, expecting: try TrainingSamples.stamps(before), output: "other.lmoe",
      options: TrainingSamples.options, in: system)
    #expect(published.path == "other.lmoe" && published.generation == 1)
    #expect(system.contents(TrainingSamples.path) == bytes)
    let other = try open(system, "other.lmoe")
    #expect(other.header.fileUUID != before.header.fileUUID)
    #expect(other.banks.map(\.id).count == before.banks.count + 1)
    #expect(
      try BundleDifference(before, other).items.allSatisfy { $0.bank != "expert/y" && $0.bank != "base" })
    #expect(try other.card(of: other.bank("gate/made"))?["provenance"]?["trained"]?["seed"] == 7)
    // In the copy the untrained values are not.
    #expect(other.fileBytes < before.fileBytes + 8192)
    let again = #expect(throws: FormatError.self) {
      try weights.publish(to: TrainingSamples.path, expecting: [], output: "other.lmoe", in: system)
    }
    #expect(again?.code == .alreadyExists)
  }

  @Test func `what changed meanwhile is refused by name, and what it does not concern stays`() throws {
    let system = try TrainingSamples.bundle()
    let original = SimulatedFileSystem(files: [
      TrainingSamples.path: try #require(system.contents(TrainingSamples.path))
    ])
    let stamps = try TrainingSamples.stamps(try open(system))
    func change(_ body: (BundleWriter) throws -> Void) throws {
      let writer = try BundleWriter(
        appendingTo: TrainingSamples.path, options: TrainingSamples.options, in: system)
      try body(writer)
      try writer.commit(note: "meanwhile")
    }
    func refusal() throws -> String {
      let bytes = system.contents(TrainingSamples.path)
      for output in [nil, "other.lmoe"] {
        let error = #expect(throws: ExpertError.self) {
          try TrainingSamples.weights.publish(
            to: TrainingSamples.path, expecting: stamps, output: output, options: TrainingSamples.options,
            in: system)
        }
        #expect(error?.code == .changedMeanwhile)
        #expect(system.contents(TrainingSamples.path) == bytes && system.paths == [TrainingSamples.path])
        if output != nil { return error?.description ?? "" }
      }
      return ""
    }
    try change { try $0.removeBank("expert/y") }
    try change { try $0.addBank("expert/z", card: ["card": 1, "kind": "expert"], entries: []) }
    try change { try $0.renameBank("expert/x", to: "expert/renamed") }
    let before = try Bundle(path: TrainingSamples.path, in: system)
    let published = try TrainingSamples.weights.publish(
      to: TrainingSamples.path, expecting: stamps, options: TrainingSamples.options, in: system)
    let after = try open(system)
    #expect(published.stamps.map(\.name) == ["gate/default", "gate/given", "expert/renamed"])
    #expect(after.root.note == "train gate/default, gate/given, expert/renamed (400 steps)")
    #expect(after.root.bank("expert/y") == nil)
    #expect(try after.bank("expert/z") == before.bank("expert/z"))

    // The banks are others now.
    #expect(
      try refusal()
        == "bundle.lmoe: expert/renamed was changed, gate/default was changed, gate/given was changed since the training began, and nothing was published; restore the generation that it began from (\"lmoe-tool history\" lists them), or train anew"
    )
    try BundleWriter.restore(
      TrainingSamples.path, generation: 1, options: TrainingSamples.options, in: system)
    try change { try $0.replaceCard(of: "gate/given", with: ["card": 1, "kind": "gate"]) }
    try change { try $0.removeBank("expert/x") }
    #expect(try refusal().hasPrefix("bundle.lmoe: expert/x is gone, gate/given was changed since"))
    // Compacting changes nothing.
    try BundleWriter.restore(
      TrainingSamples.path, generation: 1, options: TrainingSamples.options, in: system)
    var compaction = Compaction()
    compaction.options = TrainingSamples.options
    compaction.codec = .raw
    _ = try compaction.run(TrainingSamples.path, in: system)
    try TrainingSamples.weights.publish(
      to: TrainingSamples.path, expecting: stamps, options: TrainingSamples.options, in: system)
    try expectTrained(try open(system), from: try Bundle(path: TrainingSamples.path, in: original))
  }

  @Test func `values that do not fit`() throws {
    let system = try TrainingSamples.bundle()
    let bytes = system.contents(TrainingSamples.path)
    let (a, b) = (TrainingSamples.factor("A"), TrainingSamples.factor("B"))
    func refusal(_ change: (inout TrainedWeights) -> Void) -> String {
      var weights = TrainedWeights(record: TrainingSamples.record)
      change(&weights)
      let result = LMoEExpertsTests.refusal {
        try weights.publish(
          to: TrainingSamples.path, expecting: [], options: TrainingSamples.options, in: system)
      }
      #expect(system.contents(TrainingSamples.path) == bytes)
      return result
    }
    func expert(_ tensors: FloatTensor...) -> String {
      refusal { $0.experts = [.init("x", tensors: tensors)] }
    }
    #expect(
      expert(TrainingSamples.tensor(a, [4, 2], seed: 1)).hasSuffix(
        "given the shape [4, 2], and the expert's has [2, 4]"))
    #expect(expert(FloatTensor(a, shape: [2, 4], values: [1])).contains("do not fill the shape [2, 4]"))
    #expect(expert(TrainingSamples.tensor(a + "x", [2, 4], seed: 1)).contains("does not have"))
    #expect(
      expert(TrainingSamples.tensor(a, [2, 4], seed: 1), TrainingSamples.tensor(a, [2, 4], seed: 1))
        .contains("two sets of values"))
    #expect(
      expert(FloatTensor(b, shape: [4, 2], values: [1, 2, 3, .nan, 5, 6, 7, 8]))
        == "bundle.lmoe#x: element 3 of the tensor \"\(b)\" is not a finite number; the training diverged: take an earlier checkpoint"
    )
    #expect(refusal { $0.experts = [.init("none", tensors: [])] }.contains("no bank \"expert/none\""))
    let id = GateCardTests.id("a")
    func rows(_ rows: Gate.Rows, of gate: String = "default") -> String {
      refusal { $0.gates = [.init(gate, .rows(rows))] }
    }
    #expect(
      rows([ByteKey(TrainingSamples.q): [id: [1, 2]]]).contains("has 2 elements, and a row there has 5"))
    #expect(
      rows([ByteKey(TrainingSamples.q): [id: [1, 2, 3, 4, .infinity]]]).contains("not a finite number"))
    #expect(rows(["": [id: [1]]]).contains("is for no place"))
    #expect(rows([:], of: "given").contains("the gate is constant"))
    #expect(refusal { $0.gates = [.init("default", .weights([]))] }.contains("does not list any"))
    #expect(
      refusal { $0.gates = [.init("given", .weights([.init(expert: id, value: .nan)]))] }
        .contains("not a finite number"))
    #expect(
      refusal { $0.newGates = [.init("given", NewGate(.uniform, initialiser: "x"))] }.contains("already has"))
  }
}
