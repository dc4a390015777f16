import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Gates that are made without training.
@Suite struct GateInitialiserTests {
  private static let adapters = ["math", "code", "verse"]

  private func adding(_ gate: NewGate, to bundle: Bundle, as name: String = "g") throws -> StoredGate {
    let writer = try BundleWriter(appendingTo: bundle.path)
    try writer.addGate(gate, named: name)
    try writer.commit(note: "gate")
    return try Bundle(path: bundle.path).gate(named: name)
  }

  private func id(_ name: String, _ bundle: Bundle) throws -> Bits128 { try bundle.bank("expert/" + name).id }

  private func cosine(_ x: [Float], _ y: [Float]) -> Double {
    func dot(_ a: [Float], _ b: [Float]) -> Double {
      zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    return dot(x, y) / (dot(x, x) * dot(y, y)).squareRoot()
  }

  /// The directions that NumPy finds in the dense products, and PEFT after enough steps.
  @Test func `arrow`() throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(experts: Self.adapters.map(Scratch.adapter))
    let made = try NewGate.arrow(in: bundle, normaliser: .topKRenormalised(3))
    #expect(made.notes == [] && made.gate.scope == .module && made.gate.score == .prototype(.absoluteDot))
    let expected = try SafetensorsFile(path: Scratch.fixtures + "/adapters/arrow.safetensors")
    #expect(made.rowCount == expected.tensors.count && made.rowCount == 36)
    for tensor in expected.tensors {
      let slash = try #require(tensor.name.firstIndex(of: "/"))
      let place = ByteKey(String(tensor.name[slash...].dropFirst()))
      let row = try #require(
        made.rows[place]?[try id(String(tensor.name[..<slash]), bundle)], "\(tensor.name)")
      let buffer = RawBuffer(count: tensor.type.rawBytes)
      try expected.source(of: tensor).read(into: buffer.bytes, at: 0)
      let exact = Array(buffer.bytes.bindMemory(to: Float.self).prefix(row.count))
      let distance = zip(row, exact).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }.squareRoot()
      // The sign too: the largest element is positive in both.
      #expect(distance < 1e-6, "\(tensor.name): \(distance)")
    }
    let stored = try adding(made, to: bundle)
    #expect(try stored.rows() == made.rows && stored.gate == made.gate)
    #expect(stored.card["provenance"]?["initialiser"] == "arrow")
    #expect(try stored.status.experts.allSatisfy { $0.standing == .aware })
    #expect(try made.rows == NewGate.arrow(in: bundle, normaliser: .softmax, on: WorkerPool(count: 1)).rows)
  }

  /// s, the factoring and the order of the ranks say nothing about a product.
  @Test func `arrow knows the product, not the factors`() throws {
    let scratch = try Scratch()
    let base = try scratch.base(
      "base.lmoe", [("model.embed_tokens.weight", [5, 3]), ("model.layers.0.q.weight", [2, 3])])
    // B·A = diag(3, 1) on the first two of three inputs, written in two ways; the third expert does nothing.
    let experts: [(String, [Float], [Float])] = [
      ("plain", [1, 0, 0, 0, 1, 0], [3, 0, 0, 1]),
      ("other", [-1, -1, 0, -1, 1, 0], [-1.5, -1.5, -0.5, 0.5]),
      ("zero", [1, 2, 3, 4, 5, 6], [0, 0, 0, 0]),
    ]
    let writer = try BundleWriter(appendingTo: base.path)
    for (name, a, b) in experts {
      let card: JSON = [
        "card": 1, "kind": "expert", "type": "lora", "prefix": "p.",
        "modules": [["rank": 2, "alpha": 1, "scaling": -4, "targets": ["model.layers.0.q"]]],
      ]
      try writer.addBank(
        "expert/" + name, card: card,
        entries: try [("A", [2, 3] as [UInt64], a), ("B", [2, 2], b)].map { letter, shape, values in
          let flat = try gateRow("p.model.layers.0.q.lora_\(letter).weight", values)
          return NewEntry(
            tensor: flat.name, type: try #require(TensorType(dtype: .f32, shape: shape)), source: flat.source)
        })
    }
    try writer.commit(note: "experts")
    let bundle = try Bundle(path: base.path)
    let gate = try NewGate.arrow(
      in: bundle, normaliser: .softmax, members: try bundle.gateMembers(hasNull: true))
    let rows = try #require(gate.rows["model.layers.0.q"])
    for name in ["plain", "other"] {
      let row = try #require(rows[try id(name, bundle)])
      #expect(zip(row, [1, 0, 0]).allSatisfy { abs($0 - $1) < 1e-6 }, "\(name): \(row)")
    }
    #expect(rows[try id("zero", bundle)] == [0, 0, 0] && rows[.zero] == [0, 0, 0])
    #expect(gate.notes == ["expert/zero changes nothing at 1 of its modules, where its prototype is zero"])
  }

  @Test func `arrow says what DoRA is to it`() throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(experts: [Scratch.adapter("dora"), Scratch.adapter("embed")])
    let gate = try NewGate.arrow(in: bundle, normaliser: .softmax)
    #expect(gate.notes == ["expert/dora is DoRA: its prototypes are those of the low-rank part"])
    #expect(gate.rows.keys.allSatisfy { !$0.text.contains("embed") }, "an embedding has no input to look at")
  }

  @Test(arguments: Gate.Scope.allCases) func `random`(scope: Gate.Scope) throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(experts: Self.adapters.map(Scratch.adapter))
    let members = try bundle.gateMembers(always: ["code"], hasNull: true)
    let made = try NewGate.random(
      in: bundle, scope: scope, normaliser: .topKRaw(2), members: members, seed: 11, deviation: 0.5)
    // math acts on q and v, verse on q, v and down, of three layers each; the null expert wherever one acts.
    #expect(made.rowCount == (scope == .module ? 6 + 9 + 9 : scope == .layer ? 9 : 3))
    let values = made.rows.values.flatMap(\.values)
    #expect(values.allSatisfy { $0.last == 0 }, "biases")
    #expect(Set(values).count == values.count, "no two rows are alike")
    for row in values where row.count == 65 {
      let square = row.reduce(0) { $0 + Double($1) * Double($1) }
      #expect(abs(square.squareRoot() - 0.5) < 0.2, "64 weights of 0.5 / 8")
    }
    let stored = try adding(made, to: bundle)
    #expect(try stored.rows() == made.rows && stored.gate.members == members)
    #expect(stored.card["provenance"]?["seed"] == 11)
    #expect(try stored.status.unaware == [])

    // Another bundle, other ids, another order, one expert less: the same rows for the same names.
    let other = try scratch.bundle(experts: ["verse", "math"].map(Scratch.adapter))
    let again = try NewGate.random(in: other, scope: scope, seed: 11, deviation: 0.5)
    for name in ["math", "verse"] {
      let (mine, theirs) = (try id(name, bundle), try id(name, other))
      for (place, rows) in again.rows { #expect(rows[theirs] == made.rows[place]?[mine]) }
    }
    let seeded = try NewGate.random(in: other, scope: scope, seed: 12, deviation: 0.5)
    #expect(zip(again.rows, seeded.rows).allSatisfy { $0 != $1 })
  }

  @Test func `prompts`() throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(experts: Self.adapters.map(Scratch.adapter))
    let (math, code) = (try id("math", bundle), try id("code", bundle))
    func means(_ first: Float, _ second: Float) -> [ByteKey: [Float]] {
      Dictionary(
        uniqueKeysWithValues: (0..<3).map { layer in
          // What all have in common is most of it.
          (ByteKey("model.layers.\(layer)"), [100, first, second] + [Float](repeating: 0, count: 61))
        })
    }
    let both = [math: means(2, 0), code: means(0, 2)]
    let made = try NewGate.prompts(
      means: both, in: bundle, members: try bundle.gateMembers(hasNull: true), texts: [["file": "x"]])
    #expect(made.rowCount == 9 && made.gate.score == .prototype(.cosine))
    let row = try #require(made.rows["model.layers.1"])
    #expect(row[.zero] == [Float](repeating: 0, count: 64))
    let half = Float(0.5.squareRoot())
    #expect(zip(try #require(row[math]), [0, half, -half]).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(abs(cosine(try #require(row[math]), try #require(row[code])) + 1) < 1e-6)
    #expect(made.notes == ["there is no text for expert/verse, of which the gate is unaware"])
    #expect(made.provenance["centred"] == true && made.provenance["texts"] == [["file": "x"]])
    #expect(try adding(made, to: bundle).status.unaware == ["verse"])

    let plain = try NewGate.prompts(means: both, in: bundle, isCentred: false)
    let near = cosine(
      try #require(plain.rows["model.layers.1"]?[math]), try #require(plain.rows["model.layers.1"]?[code]))
    #expect(near > 0.999, "uncentred they are all alike")
    // One alone has nothing to be centred by.
    let alone = try NewGate.prompts(means: [math: means(2, 0)], in: bundle)
    #expect(try #require(alone.rows["model.layers.0"]?[math])[0] > 0.99)
    #expect(
      try sentence {
        try NewGate.prompts(means: [math: ["model.layers.0": [1, 2]]], in: bundle)
      }.contains("the mean of expert/math at model.layers.0 has 2 of 64 elements"))
  }

  @Test func `adding and replacing`() throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(experts: [Scratch.adapter("math")])
    let first = try adding(.uniform(), to: bundle)
    let writer = try BundleWriter(appendingTo: bundle.path)
    #expect(
      try sentence { try writer.addGate(.uniform(), named: "g") }
        == "\(bundle.path) already has a gate \"g\"; choose another name, or replace it with --force")
    #expect(
      try sentence { try writer.addGate(.uniform(), named: "a,b") }.hasPrefix(
        "\"a,b\" cannot be the name of a gate: "))
    let math = try id("math", bundle)
    try writer.addGate(.constant([.init(expert: math, value: -2)]), named: "g", replaces: true)
    try writer.commit(note: "replace")
    let second = try Bundle(path: bundle.path).gate(named: "g")
    #expect(second.bank.id != first.bank.id)
    #expect(second.gate.normaliser == .none)
    #expect(try second.routing().places["global"]?.scores == [-2])
    #expect(
      try sentence { try Bundle(path: bundle.path).gateMembers(always: ["x"]) }.contains("\"expert/x\""))
  }
}
