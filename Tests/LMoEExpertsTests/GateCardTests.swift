import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

/// Gates as their cards have them: every legal choice comes back, everything else is refused in a sentence.
@Suite struct GateCardTests {
  private static let (a, b) = (id("a"), id("b"))

  static func id(_ digit: Character) -> Bits128 {
    Bits128(hexadecimal: String(repeating: digit, count: 32)) ?? .zero
  }

  static let gates: [Gate] = [
    .uniform,
    Gate(.constant(.uniform), scope: .module, normaliser: .softmax),
    Gate(
      .constant(.given([.init(expert: a, value: 0.7), .init(expert: b, value: -0.3)])), scope: .global,
      normaliser: .none),
    Gate(
      .constant(.given([.init(expert: b, value: 2)])), scope: .layer, normaliser: .topKRaw(1),
      temperature: 0.5, members: .listed([.init(expert: a, role: .always), .init(expert: b)])),
    Gate(.linear, scope: .module, normaliser: .softmax, temperature: 0.125),
    Gate(.linear, scope: .layer, normaliser: .topKRaw(3)),
    Gate(
      .linear, scope: .global, normaliser: .none,
      members: .listed([.init(expert: Gate.nullExpert), .init(expert: a)])),
    Gate(.prototype(.absoluteDot), scope: .module, normaliser: .topKRenormalised(1)),
    Gate(.prototype(.cosine), scope: .layer, normaliser: .softmax, temperature: 1e-6),
    Gate(.prototype(.dot), scope: .global, normaliser: .topKRenormalised(65_536), temperature: 1e6),
    Gate(.linear, scope: .layer, normaliser: .softmax, members: .listed([])),
  ]

  @Test(arguments: gates) func `a card and back`(gate: Gate) throws {
    let card = gate.card(provenance: ["initialiser": "test"])
    let again = try JSON(parsing: Array(card.serialized().utf8))
    #expect(try Gate(card: again, name: "g", path: "x.lmoe") == gate)
    #expect(card["provenance"] == ["initialiser": "test"])
  }

  @Test func `the uniform gate's card is what it has always been`() {
    #expect(
      Gate.uniform.card().serialized()
        == #"{"card":1,"kind":"gate","score":"constant","input":"none","scope":"global","pooling":"token","normaliser":"softmax","k":null,"temperature":1,"mask":"none","weights":"uniform","members":"all"}"#
    )
  }

  /// A legal card, some of its fields changed; null takes one away.
  static let changes: [(String, [(String, JSON?)], String)] = [
    ("unknown score", [("score", "oracle")], #"has "score" "oracle", which this tool cannot compute"#),
    ("mlp", [("score", "mlp")], #"has "score" "mlp""#),
    ("no score", [("score", nil)], "its card has no score"),
    ("a number for a score", [("score", 7)], "the score on its card is not a text"),
    ("no similarity", [("score", "prototype")], "its card has no similarity"),
    ("similarity", [("score", "prototype"), ("similarity", "l2")], #"has "similarity" "l2""#),
    ("scope", [("scope", "head")], #"has "scope" "head""#),
    ("no scope", [("scope", nil)], "its card has no scope"),
    (
      "input of another scope", [("input", "embedding")],
      "a linear score of scope layer takes the input block-norm, and its card says embedding"
    ),
    ("prepass", [("input", "prepass-final-hidden")], #"has "input" "prepass-final-hidden""#),
    ("no input", [("input", nil)], "its card has no input"),
    ("pooling", [("pooling", "prompt")], #"has "pooling" "prompt""#),
    ("mask", [("mask", "tag")], #"has "mask" "tag""#),
    ("normaliser", [("normaliser", "sigmoid")], #"has "normaliser" "sigmoid""#),
    ("k for softmax", [("k", 2)], "its card has a k, and softmax takes none"),
    ("no k", [("normaliser", "top-k-raw")], "the k on its card is null"),
    ("k = 0", [("normaliser", "top-k-raw"), ("k", 0)], "the k on its card is 0, and must be from 1"),
    ("k too large", [("normaliser", "top-k-renormalised"), ("k", 65_537)], "the k on its card is 65537"),
    (
      "k with a fraction", [("normaliser", "top-k-raw"), ("k", .number(JSONNumber(text: "1.5")))],
      "the k on its card is 1.5"
    ),
    ("temperature 0", [("temperature", 0)], "the temperature on its card is 0, and must be"),
    ("temperature below 0", [("temperature", -1)], "the temperature on its card is -1"),
    (
      "temperature beyond numbers", [("temperature", .number(JSONNumber(text: "1e999")))],
      "the temperature on its card is 1e999"
    ),
    ("temperature as text", [("temperature", "1")], #"the temperature on its card is "1""#),
    ("card version", [("card", 2)], #"has "card" 2"#),
    ("no card version", [("card", nil)], #"has "card" missing"#),
    ("members", [("members", "some")], #"neither "all" nor a list"#),
    ("a member without id", [("members", [["role": "routed"]])], "which is no id of an expert"),
    (
      "an id that is none", [("members", [["expert": "math", "role": "routed"]])],
      #"its members name "math", which is no id"#
    ),
    (
      "a member twice",
      [
        (
          "members",
          [
            ["expert": .string("\(a)"), "role": "routed"],
            ["expert": .string("\(a)".uppercased()), "role": "always"],
          ]
        )
      ],
      "its members name \(a) twice"
    ),
    (
      "a role", [("members", [["expert": .string("\(a)"), "role": "boss"]])],
      #"has the role "boss""#
    ),
    (
      "the null expert always", [("members", [["expert": .string("\(Bits128.zero)"), "role": "always"]])],
      #"has the role "always""#
    ),
    ("no weights", [("score", "constant"), ("input", "none")], #"neither "uniform" nor a list"#),
    (
      "uniform and top-k",
      [("score", "constant"), ("input", "none"), ("weights", "uniform"), ("normaliser", "none")],
      "uniform weights take the normaliser softmax, and its card says none"
    ),
    (
      "a weight beyond float32",
      [
        ("score", "constant"), ("input", "none"),
        ("weights", [["expert": .string("\(a)"), "weight": .number(JSONNumber(text: "1e39"))]]),
      ],
      "must be a finite number"
    ),
    (
      "a weight for nobody",
      [
        ("score", "constant"), ("input", "none"), ("members", []),
        ("weights", [["expert": .string("\(a)"), "weight": 1]]),
      ], "it has a weight for \(a), which is no routed member"
    ),
    (
      "a weight twice",
      [
        ("score", "constant"), ("input", "none"),
        ("weights", [["expert": .string("\(a)"), "weight": 1], ["expert": .string("\(a)"), "weight": 2]]),
      ], "its weights name \(a) twice"
    ),
  ]

  @Test(arguments: changes.indices) func `refused`(index: Int) throws {
    let (_, fields, reason) = Self.changes[index]
    var card = try #require(Gate(.linear, scope: .layer, normaliser: .softmax).card().object)
    #expect(try Gate(card: .object(card), name: "g", path: "x.lmoe").scope == .layer)
    for (key, value) in fields { card[key] = value }
    let said = try sentence { try Gate(card: .object(card), name: "g", path: "x.lmoe") }
    #expect(said.hasPrefix("x.lmoe: the gate \"g\" ") && said.contains(reason), "\(said)")
    #expect(said.contains("gate init"), "the remedy is named: \(said)")
  }

  /// What a card leaves out means what it meant before there was a choice.
  @Test func `defaults`() throws {
    let card: JSON = [
      "card": 1, "kind": "gate", "score": "linear", "input": "block-norm", "scope": "layer",
      "normaliser": "softmax", "later": ["unknown": true],
    ]
    #expect(
      try Gate(card: card, name: "g", path: "x") == Gate(.linear, scope: .layer, normaliser: .softmax))
  }

  /// A list of as many experts as a card can hold takes no time that grows with its square.
  @Test(.timeLimit(.minutes(1))) func `long lists`() throws {
    let ids = (1...60_000).map { Bits128(high: 0, low: $0) }
    let gate = Gate(
      .constant(.given(ids.map { .init(expert: $0, value: 1) })), scope: .global, normaliser: .none,
      members: .listed(ids.map { .init(expert: $0) }))
    #expect(try Gate(card: gate.card(), name: "g", path: "x") == gate)
  }
}
