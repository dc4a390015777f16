import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// What becomes of gates when experts come and go.
@Suite struct GateLifeTests {
  private static let (a, b, c) = (GateCardTests.id("a"), GateCardTests.id("b"), GateCardTests.id("c"))
  private static let q = Scratch.modules[0]
  private static let experts = [("x", a), ("y", b), ("z", c)].map { (name: $0, id: $1, modules: [q]) }

  /// A bundle with a learned gate that has a field and a document nobody knows, one with given weights that
  /// lists x alone, one with members, and the uniform one.
  private func bundle(_ scratch: Scratch) throws -> Bundle {
    let learned = Gate(.prototype(.dot), scope: .layer, normaliser: .softmax)
    var card = try #require(learned.card().object)
    card["later"] = ["kept": true]
    let place = "model.layers.0"
    let listed = Gate(
      .constant(.uniform), scope: .global, normaliser: .softmax,
      members: .listed([.init(expert: Self.a), .init(expert: Self.b, role: .always)]))
    let given = Gate(
      .constant(.given([.init(expert: Self.a, value: 0.5)])), scope: .global, normaliser: .none)
    return try scratch.gated(
      "gates.lmoe", experts: Self.experts,
      gates: [
        (
          "learned", .object(card),
          try [Self.a, Self.b, Self.c, .zero].map { try gateRow("\($0)/\(place)", [1, 2, 3, 4]) }
            + [try NewEntry(document: "\(Self.a)/note", bytes: [7])]
        ),
        ("listed", listed.card(), []), ("given", given.card(), []), ("uniform", Gate.uniform.card(), []),
      ])
  }

  private func removing(_ names: [String], from bundle: Bundle) throws -> (Bundle, [GateChange], UInt64) {
    let writer = try BundleWriter(appendingTo: bundle.path)
    let changes = try writer.removeExperts(names)
    let written = try writer.commit(note: "remove")
    return (try Bundle(path: bundle.path), changes, written)
  }

  @Test func `an expert leaves with its rows`() throws {
    let scratch = try Scratch()
    let before = try bundle(scratch)
    let (after, changes, _) = try removing(["x"], from: before)
    #expect(after.generation == before.generation + 1, "one change")
    #expect(after.banks.map(\.id) == before.banks.filter { $0.name != "expert/x" }.map(\.id))

    let stored = try after.gate(named: "learned")
    #expect(try stored.rows()["model.layers.0"]?.keys.sorted() == [.zero, Self.b, Self.c])
    #expect(stored.card["later"] == ["kept": true])
    #expect(try after.manifest(of: stored.bank).documents.map(\.name) == ["\(Self.a)/note"])
    #expect(try stored.status.gone == [] && after.gate(named: "listed").status.gone == [])
    #expect(
      try after.gate(named: "listed").gate.members == .listed([.init(expert: Self.b, role: .always)]))
    #expect(try after.gate(named: "given").gate.score == .constant(.given([])))
    #expect(try after.bank("gate/uniform") == before.bank("gate/uniform"), "it lists nobody")
    #expect(try after.verify(decoding: true) == [])

    #expect(changes.map(\.gate) == ["given", "learned", "listed"])
    #expect(changes.map(\.rowCount) == [0, 1, 0] && changes.map(\.weightCount) == [1, 0, 0])
    #expect(changes.map(\.memberCount) == [0, 0, 1] && changes.map(\.isDeserted) == [true, false, false])
    #expect(changes[0].description.hasPrefix("gate/given lost 1 weight and has no expert left"))
    #expect(changes[1].description == "gate/learned lost 1 row")

    // What was there can be had again.
    try BundleWriter.restore(before.path, generation: before.generation)
    let restored = try Bundle(path: before.path)
    #expect(try BundleDifference(before, restored).items.isEmpty)
  }

  /// Rows that stay are not written again.
  @Test func `removing costs a manifest, not the rows`() throws {
    let scratch = try Scratch()
    let gate = Gate(.linear, scope: .layer, normaliser: .softmax)
    let noise = (0..<65_536).map { Float(($0 &* 2_654_435_761) >> 7 & 0xFFFF) }
    let rows = try [Self.a, Self.b].map { try gateRow("\($0)/model.layers.0", noise) }
    let writer = try BundleWriter(creating: scratch.path("big.lmoe"))
    for expert in Self.experts.prefix(2) {
      try writer.addBank("expert/" + expert.name, id: expert.id, card: ["kind": "expert"], entries: [])
    }
    try writer.addBank("gate/g", card: gate.card(), entries: rows)
    try writer.commit(note: "test")
    let (after, _, written) = try removing(["y"], from: try Bundle(path: scratch.path("big.lmoe")))
    #expect(try after.gate(named: "g").rows()["model.layers.0"] == [Self.a: noise])
    #expect(written < 10_000)
  }

  @Test func `all experts leave`() throws {
    let scratch = try Scratch()
    let (after, changes, _) = try removing(["x", "y", "z"], from: try bundle(scratch))
    #expect(changes.map(\.isDeserted) == [true, true, true])
    #expect(try after.gate(named: "learned").rows()["model.layers.0"]?.keys.map(\.self) == [.zero])
    #expect(try after.gate(named: "learned").routing().places.isEmpty, "\"all\" is not the null expert")
    #expect(try after.gate(named: "listed").routing().places.isEmpty)
    #expect(try sentence { try removing(["x"], from: after) }.contains("has no bank \"expert/x\""))
  }

  /// A part of a bundle says the same as what is left after removing the rest.
  @Test func `a part of a bundle`() throws {
    let scratch = try Scratch()
    let whole = try bundle(scratch)
    let writer = try BundleWriter(creating: scratch.path("part.lmoe"))
    var subset = BundleSubset()
    subset.experts = ["y", "z"]
    let exported = try subset.write(whole, to: writer)
    try writer.commit(note: "export")
    let part = try Bundle(path: scratch.path("part.lmoe"))
    let (rest, removed, _) = try removing(["x"], from: whole)
    #expect(exported == removed)
    #expect(try BundleDifference(part, rest).items.isEmpty)
    subset.experts = nil
    let all = try BundleWriter(creating: scratch.path("all.lmoe"))
    #expect(try subset.write(rest, to: all) == [])
  }

  @Test func `an expert comes`() throws {
    let scratch = try Scratch()
    let path = try bundle(scratch).path
    let writer = try BundleWriter(appendingTo: path)
    let card: JSON = [
      "kind": "expert", "modules": [["rank": 1, "alpha": 1, "scaling": 1, "targets": [.string(Self.q)]]],
    ]
    try writer.addBank("expert/new", card: card, entries: [])
    try writer.commit(note: "add")
    let after = try Bundle(path: path)
    for name in ["learned", "listed", "given"] {
      let stored = try after.gate(named: name)
      #expect(try stored.status.unaware.contains("new"), "\(name)")
      #expect(
        try !stored.routing().places.values.contains { $0.experts.contains(try after.bank("expert/new").id) },
        "\(name)")
    }
    #expect(try after.gate(named: "uniform").status.unaware == [])
    #expect(try after.gate(named: "uniform").routing().places["global"]?.experts.count == 4)
  }

  /// A name is nothing to a gate.
  @Test func `rename`() throws {
    let scratch = try Scratch()
    let before = try bundle(scratch)
    let writer = try BundleWriter(appendingTo: before.path)
    try writer.renameBank("expert/x", to: "expert/renamed")
    try writer.commit(note: "rename")
    let after = try Bundle(path: before.path)
    #expect(after.banks(ofKind: "gate") == before.banks(ofKind: "gate"))
    #expect(try after.gate(named: "learned").status.experts.map(\.name) == ["renamed", "y", "z"])
  }

  @Test func `a gate that no reader knows loses its rows too`() throws {
    let scratch = try Scratch()
    let card: JSON = [
      "card": 7, "score": "oracle", "members": [["expert": .string("\(Self.a)"), "role": "boss"]],
    ]
    let before = try scratch.gated(
      "later.lmoe", experts: Self.experts,
      gates: [("g", card, [try gateRow("\(Self.a)/anywhere", [1]), try gateRow("shared", [2])])])
    let (after, changes, _) = try removing(["x"], from: before)
    let bank = try after.bank("gate/g")
    #expect(try after.manifest(of: bank).tensors.map(\.name) == ["shared"])
    #expect(try after.card(of: bank) == ["card": 7, "score": "oracle", "members": []])
    #expect(changes.first?.memberCount == 1 && changes.first?.rowCount == 1)
  }
}
