import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// What a training run might leave, made up.
enum TrainingSamples {
  static func values(_ count: Int, seed: UInt64) -> [Float] {
    var source = RandomSource(seed: seed)
    return (0..<count).map { _ in Float(source.normal()) * 0.1 }
  }

  static func tensor(_ name: String, _ shape: [Int], seed: UInt64) -> FloatTensor {
    FloatTensor(name, shape: shape, values: values(shape.reduce(1, *), seed: seed))
  }

  /// New values for every factor, bias and magnitude of an expert.
  static func tensors(of expert: String, in bundle: Bundle, seed: UInt64) throws -> [FloatTensor] {
    try bundle.manifest(of: bundle.bank("expert/" + expert)).tensors.enumerated().compactMap { index, entry in
      guard entry.name.contains(".lora_") else { return nil }
      let made = tensor(entry.name, entry.type.shape, seed: seed + UInt64(index))
      // Magnitudes are lengths.
      guard entry.name.hasSuffix("magnitude_vector") else { return made }
      return FloatTensor(
        entry.name, shape: entry.type.shape,
        values: values(entry.type.elementCount, seed: seed).map { 1 + abs($0) })
    }
  }

  static func floats(_ name: String, of bank: String, in bundle: Bundle) throws -> [Float] {
    let bank = try bundle.bank(bank)
    let entry = try #require(try bundle.manifest(of: bank).tensor(name))
    #expect(entry.type.dtype == .f32)
    let bytes = try bundle.bytes(of: entry, in: bank)
    return stride(from: 0, to: bytes.count, by: 4).map { place in
      Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[place + $1]) << (8 * UInt32($1)) })
    }
  }

  static let record: JSON = ["step": 400, "tokens": 51_200, "seed": 7, "loss": .double(1.25)]

  /// Options that give the same bytes each time, on one thread.
  static var options: BundleWriter.Options {
    var options = BundleWriter.Options()
    options.pool = WorkerPool(count: 1)
    options.clock = { 1_700_000_000_000_000_000 }
    return options
  }

  static let path = "bundle.lmoe"
  static let q = "model.layers.0.self_attn.q_proj"

  /// The name of a factor in a bank.
  static func factor(_ letter: String) -> String { "base_model.model.\(q).lora_\(letter).weight" }

  /// A base of one layer, two experts and two gates, in memory.
  static func bundle() throws -> SimulatedFileSystem {
    let system = SimulatedFileSystem()
    let writer = try BundleWriter(creating: path, options: options, in: system)
    try writer.addBank(
      "base", card: ["card": 1, "kind": "base"],
      entries: [try LMoEExpertsTests.tensor("\(q).weight", [4, 4], .f32)])
    for (name, id) in [("x", GateCardTests.id("a")), ("y", GateCardTests.id("b"))] {
      let card: JSON = [
        "card": 1, "kind": "expert", "type": "lora", "prefix": "base_model.model.", "note": "kept",
        "modules": [["rank": 2, "alpha": 2, "scaling": 1, "targets": [.string(q)], "norms": [0]]],
      ]
      try writer.addBank(
        "expert/" + name, id: id, card: card,
        entries: [
          try LMoEExpertsTests.tensor(factor("A"), [2, 4], .bf16),
          try LMoEExpertsTests.tensor(factor("B"), [4, 2], .bf16),
          try NewEntry(document: "files/README.md", bytes: Array("what it is".utf8)),
          try NewEntry(document: "files/adapter_config.json", bytes: Array("{}".utf8)),
          try NewEntry(document: "safetensors/adapter_model.safetensors", bytes: Array("head".utf8)),
        ])
    }
    let learned = Gate(.linear, scope: .module, normaliser: .softmax)
    try writer.addBank(
      "gate/default", id: GateCardTests.id("c"), card: learned.card(provenance: ["initialiser": "random"]),
      entries: try [GateCardTests.id("a"), GateCardTests.id("b")].map {
        try gateRow("\($0)/\(q)", [1, 2, 3, 4, 0])
      })
    let given = Gate(
      .constant(.given([.init(expert: GateCardTests.id("a"), value: 0.5)])), scope: .global, normaliser: .none
    )
    try writer.addBank("gate/given", id: GateCardTests.id("d"), card: given.card(), entries: [])
    try writer.commit(note: "import")
    return system
  }

  /// New values for x, a row for it, and a weight for y.
  static var weights: TrainedWeights {
    var weights = TrainedWeights(record: record)
    weights.experts = [
      .init("x", tensors: [tensor(factor("A"), [2, 4], seed: 1), tensor(factor("B"), [4, 2], seed: 2)])
    ]
    weights.gates = [
      .init("default", .rows([ByteKey(q): [GateCardTests.id("a"): [5, 6, 7, 8, 9]]])),
      .init("given", .weights([.init(expert: GateCardTests.id("b"), value: -2)])),
    ]
    return weights
  }

  static func stamps(_ bundle: Bundle) throws -> [BankStamp] {
    try ["expert/x", "gate/default", "gate/given"].map { BankStamp(try bundle.bank($0)) }
  }
}

/// Ways for the pending writes of a snapshot to end: all alike, each alone, and some at random.
func powerFailures(
  of snapshot: SimulatedFileSystem.Snapshot
) -> [(fates: [SimulatedFileSystem.Snapshot.Fate], names: Bool)] {
  typealias Fate = SimulatedFileSystem.Snapshot.Fate
  let count = snapshot.pendingWrites.count
  var fates: [[Fate]] = [Fate.dropped, .applied, .garbled(seed: 1)].map { Array(repeating: $0, count: count) }
  for index in 0..<count {
    for (fate, rest) in [(Fate.dropped, Fate.applied), (.applied, .dropped), (.garbled(seed: 2), .applied)] {
      var some = Array(repeating: rest, count: count)
      some[index] = fate
      fates.append(some)
    }
  }
  var generator = SplitMix(seed: UInt64(count))
  for round in 0..<20 {
    fates.append(
      (0..<count).map { _ in
        [Fate.applied, .dropped, .garbled(seed: UInt64(round))][Int(generator.next() % 3)]
      })
  }
  return fates.flatMap { [($0, false), ($0, true)] }
}
