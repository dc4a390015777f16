import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// The rows of gates: read, brought together with the experts, refused where they are not what they should be.
@Suite struct GateRowTests {
  private static let (a, b, c) = (GateCardTests.id("a"), GateCardTests.id("b"), GateCardTests.id("c"))
  private static let null = Bits128.zero
  private static let (q, down) = (Scratch.modules[0], Scratch.modules[1])
  /// Out of the order of their ids.
  private static let experts = [
    (name: "x", id: c, modules: [q, down]), (name: "y", id: a, modules: [q]),
    (name: "z", id: b, modules: [down]),
  ]

  private static let learned = Gate(.linear, scope: .module, normaliser: .softmax)

  @Test func `rows and who takes part`() throws {
    let scratch = try Scratch()
    let members = Gate.Members.listed(
      [Self.null, Self.a, Self.c].map { .init(expert: $0) } + [.init(expert: Self.b, role: .always)])
    let gate = Gate(.linear, scope: .module, normaliser: .topKRaw(2), members: members)
    let bundle = try scratch.gated(
      "g.lmoe", experts: Self.experts,
      gates: [
        (
          "g", gate.card(),
          [
            try gateRow("\(Self.c)/\(Self.q)", [1, 2, 3, 4, 0.5]),
            try gateRow("\(Self.null)/\(Self.q)", [0, 0, 0, 0, -1]),
            // Nobody's: y does not act there, z is always on, and d is gone.
            try gateRow("\(Self.a)/\(Self.down)", [1, 1, 1, 1, 1, 1, 1]),
            try gateRow("\(Self.b)/\(Self.down)", [1, 1, 1, 1, 1, 1, 2]),
            try gateRow("\(GateCardTests.id("d"))/\(Self.q)", [9, 9, 9, 9, 9]),
          ]
        )
      ])
    let stored = try bundle.gate(named: "g")
    #expect(stored.gate == gate && stored.name == "g")
    let rows = try stored.rows()
    #expect(rows.count == 2 && rows[ByteKey(Self.q)]?.count == 3)
    #expect(rows[ByteKey(Self.q)]?[Self.c] == [1, 2, 3, 4, 0.5])

    let routing = try stored.routing()
    #expect(routing.always == [Self.b] && routing.places.count == 1)
    let place = try #require(routing.place(ofModule: Self.q))
    #expect(place.experts == [Self.null, Self.c])
    #expect(place.rows == [[0, 0, 0, 0, -1], [1, 2, 3, 4, 0.5]] && place.scores == [])
    #expect(routing.place(ofModule: Self.down) == nil, "nobody who is routed has a row there")

    let status = try stored.status
    #expect(status.experts.map(\.standing) == [.aware, .unaware, .always, .partly, .gone])
    #expect(status.experts.map(\.name) == [nil, "y", "z", "x", nil])
    #expect(status.experts.map(\.rowCount) == [1, 0, 1, 1, 1])
    #expect(status.experts.map(\.placeCount) == [1, 1, 1, 2, nil])
    #expect(status.unaware == ["y", "x"] && status.gone == [GateCardTests.id("d")])
  }

  @Test func `constant gates and who takes part`() throws {
    let scratch = try Scratch()
    func routing(_ gate: Gate) throws -> GateRouting {
      try scratch.gated(UUID().uuidString, experts: Self.experts, gates: [("g", gate.card(), [])])
        .gate(named: "g").routing()
    }
    let uniform = try routing(.uniform)
    #expect(uniform.places.keys.map(\.text) == ["global"] && uniform.always == [])
    #expect(uniform.place(ofModule: "lm_head")?.experts == [Self.a, Self.b, Self.c])
    #expect(uniform.place(ofModule: "lm_head")?.scores == [0, 0, 0])

    // Where an expert does not act it takes no share.
    let perModule = try routing(Gate(.constant(.uniform), scope: .module, normaliser: .softmax))
    #expect(perModule.place(ofModule: Self.q)?.experts == [Self.a, Self.c])
    #expect(perModule.place(ofModule: Self.down)?.experts == [Self.b, Self.c])
    let perLayer = try routing(
      Gate(
        .constant(.uniform), scope: .layer, normaliser: .softmax,
        members: .listed([Self.null, Self.c, Self.b].map { .init(expert: $0) })))
    #expect(perLayer.place(ofModule: "model.layers.0.mlp.up_proj")?.experts == [Self.null, Self.c])
    #expect(perLayer.place(ofModule: Self.down)?.experts == [Self.null, Self.b, Self.c])
    #expect(perLayer.place(ofModule: "lm_head") == nil)

    let given = try routing(
      Gate(
        .constant(.given([.init(expert: Self.c, value: -2), .init(expert: Self.a, value: 0.5)])),
        scope: .global, normaliser: .none))
    #expect(given.places["global"]?.experts == [Self.a, Self.c])
    #expect(given.places["global"]?.scores == [0.5, -2])
  }

  /// Tensors that a learned gate cannot have.
  private static let hostile: [(String, Gate, @Sendable () throws -> NewEntry, String)] = [
    ("no id", learned, { try gateRow("shared", [1]) }, "does not begin with an expert's id"),
    ("half an id", learned, { try gateRow("abc/\(q)", [1]) }, "does not begin with an expert's id"),
    (
      "an id in capitals", learned, { try gateRow("\(a)".uppercased() + "/" + q, [1, 2, 3, 4, 5]) },
      "does not begin with an expert's id"
    ),
    ("no place", learned, { try gateRow("\(a)", [1]) }, "does not begin with an expert's id"),
    ("an empty row", learned, { try gateRow("\(a)/\(q)", []) }, "is F32 of the shape [0], and rows are"),
    ("only a bias", learned, { try gateRow("\(a)/\(q)", [1]) }, "is F32 of the shape [1], and rows are"),
    ("short", learned, { try gateRow("\(a)/\(q)", [1, 2]) }, "has 2 elements, and a row there has 5"),
    (
      "as for a prototype", learned, { try gateRow("\(a)/\(q)", [1, 2, 3, 4]) },
      "has 4 elements, and a row there has 5"
    ),
    (
      "wide", learned, { try gateRow("\(a)/\(down)", [1, 2, 3, 4, 5]) },
      "has 5 elements, and a row there has 7"
    ),
    (
      "a matrix", learned, { try Scratch.zeros("\(a)/\(q)", [1, 5]) },
      "is F32 of the shape [1, 5], and rows are"
    ),
    (
      "of doubles", learned, { try Scratch.zeros("\(a)/\(q)", [5], .f64) },
      "is F64 of the shape [5], and rows are"
    ),
    ("beyond any width", learned, { try Scratch.zeros("\(a)/x", [1 << 21]) }, "and rows are vectors of F32"),
    (
      "a layer for a gate of modules' layers", Gate(.linear, scope: .layer, normaliser: .softmax),
      { try gateRow("\(a)/\(q)", [1, 2, 3, 4, 5]) }, "is for no place of a gate of scope layer"
    ),
    (
      "layer 01", Gate(.linear, scope: .layer, normaliser: .softmax),
      { try gateRow("\(a)/model.layers.01", [1, 2, 3, 4, 5]) }, "is for no place of a gate of scope layer"
    ),
    (
      "no layer", Gate(.linear, scope: .layer, normaliser: .softmax),
      { try gateRow("\(a)/model.layers.", [1, 2, 3, 4, 5]) }, "is for no place of a gate of scope layer"
    ),
    (
      "elsewhere than global", Gate(.linear, scope: .global, normaliser: .softmax),
      { try gateRow("\(a)/everywhere", [1, 2, 3, 4, 5]) }, "is for no place of a gate of scope global"
    ),
    (
      "a row of a constant gate", .uniform, { try gateRow("\(a)/global", [1, 2, 3, 4, 5]) },
      "a constant gate has no tensors"
    ),
  ]

  @Test(arguments: hostile.indices) func `tensors that are refused`(index: Int) throws {
    let scratch = try Scratch()
    let (_, gate, tensor, reason) = Self.hostile[index]
    let bundle = try scratch.gated(
      "g.lmoe", experts: Self.experts, gates: [("g", gate.card(), [try tensor()])])
    let said = try sentence { try bundle.gate(named: "g") }
    #expect(
      said.hasPrefix("\(bundle.path): the gate \"g\" is not valid: ") && said.contains(reason), "\(said)")
  }

  @Test func `rows of one place that differ in length`() throws {
    let scratch = try Scratch()
    let gate = Gate(.prototype(.dot), scope: .module, normaliser: .softmax)
    // The base does not have the module, and so does not say how long they are.
    let bundle = try scratch.gated(
      "g.lmoe", experts: Self.experts,
      gates: [
        ("g", gate.card(), [try gateRow("\(Self.a)/m", [1, 2]), try gateRow("\(Self.b)/m", [1, 2, 3])])
      ])
    #expect(
      try sentence { try bundle.gate(named: "g") }.contains(
        "\"\(Self.b)/m\" has 3 elements, and a row there has 2"))
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity]) func `a value that is no number`(value: Float) throws {
    let scratch = try Scratch()
    let gate = Gate(.prototype(.cosine), scope: .layer, normaliser: .softmax)
    let bundle = try scratch.gated(
      "g.lmoe", experts: Self.experts,
      gates: [("g", gate.card(), [try gateRow("\(Self.a)/model.layers.0", [1, 2, value, 4])])])
    let stored = try bundle.gate(named: "g")
    let reason = "element 2 of its tensor \"\(Self.a)/model.layers.0\" is not a finite number"
    #expect(try sentence { try stored.rows() }.contains(reason))
    #expect(try sentence { try stored.routing() }.contains(reason))
  }

  @Test func `which gate is meant`() throws {
    let scratch = try Scratch()
    func meant(_ names: String...) throws -> String? {
      try scratch.gated(
        UUID().uuidString, experts: [], gates: names.map { ($0, Gate.uniform.card(), []) }
      ).defaultGate()?.name
    }
    #expect(try meant() == nil)
    #expect(try meant("arrow") == "arrow")
    #expect(try meant("arrow", "default", "uniform") == "default")
    #expect(
      try sentence { try meant("arrow", "uniform") }.hasSuffix(
        "has several gates (arrow, uniform) and none called \"default\"; name one with --gate"))
  }
}
