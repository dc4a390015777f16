import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

/// Whether an expert fits a base, told from its card and its tensors alone.
@Suite struct ExpertFitTests {
  typealias Tensors = [(name: String, shape: [UInt64])]

  static let base: [String: [Int]] = [
    "model.embed_tokens.weight": [20, 4], "model.layers.0.q.weight": [6, 4],
    "model.layers.1.q.weight": [8, 4],
    "model.layers.0.q.bias": [6], "model.norm.weight": [4],
  ]

  static func factors(_ module: String, _ rank: UInt64 = 2, input: UInt64 = 4, output: UInt64 = 6) -> Tensors
  {
    [("p." + module + ".lora_A.weight", [rank, input]), ("p." + module + ".lora_B.weight", [output, rank])]
  }

  static let first = "model.layers.0.q"
  static let embedding = "model.embed_tokens"

  static func card(_ modules: [String], rank: Int = 2, _ more: [(String, JSON)] = []) -> JSON {
    .object(
      [
        ("type", "lora"), ("prefix", "p."),
        ("modules", [["rank": .integer(rank), "targets": .array(modules.map(JSON.string))]]),
      ] + more)
  }

  static func check(_ card: JSON, _ tensors: Tensors) throws {
    let manifest = Manifest(
      externalTensors: try tensors.map {
        ($0.name, try #require(TensorType(dtype: .f32, shape: $0.shape)), .zero)
      })
    try ExpertFit(card: card, manifest: manifest, path: "b#x").check { base[$0] }
  }

  static let embedded: Tensors = [
    ("p.model.embed_tokens.lora_embedding_A", [2, 20]), ("p.model.embed_tokens.lora_embedding_B", [4, 2]),
  ]

  static let good: [(card: JSON, tensors: Tensors)] = [
    (card([]), []),
    (card([first]), factors(first)),
    (
      card([first]),
      factors(first) + [("p.\(first).lora_B.bias", [6]), ("p.\(first).lora_magnitude_vector", [6])]
    ),
    (card([embedding]), embedded + [("p.model.embed_tokens.lora_magnitude_vector", [4])]),
    (card([embedding]), embedded + [("p.model.embed_tokens.base_layer.weight", [20, 4])]),
    (
      card([]), [("p.model.norm.weight", [4]), ("p.model.layers.0.q.bias", [6]), ("p.score.weight", [3, 4])]
    ),
    (
      card(
        [],
        [
          (
            "tokens",
            [["with": "p.model.embed_tokens.token_adapter.trainable_tokens_delta", "indices": [3, 19]]]
          )
        ]),
      [("p.model.embed_tokens.token_adapter.trainable_tokens_delta", [2, 4])]
    ),
    // The third layer of the new stack is the base's first.
    (card(["model.layers.2.q"], [("layer_replication", [[0, 2], [0, 2]])]), factors("model.layers.2.q")),
    (
      card(["model.layers.3.q"], [("layer_replication", [[0, 2], [0, 2]])]),
      factors("model.layers.3.q", output: 8)
    ),
  ]

  @Test(arguments: good.indices) func `what fits`(index: Int) throws {
    try Self.check(Self.good[index].card, Self.good[index].tensors)
  }

  static let elsewhere = "; it was trained on another base"

  static let bad: [(card: JSON, tensors: Tensors, sentence: String)] = [
    (
      ["type": "prompt"], [],
      "b#x: \"type\" is prompt, which this tool cannot represent; use a newer lmoe-tool"
    ),
    (["type": "lora"], [], "b#x is not a valid expert: its card has no table of modules"),
    (
      ["type": "lora", "modules": [["targets": ["q"]]]], [],
      "b#x is not a valid expert: its table of modules lacks a rank or targets"
    ),
    (
      card([first, first]), factors(first),
      "b#x is not a valid expert: its table of modules names a module twice, or none"
    ),
    (
      card([first]), [],
      "b#x is not a valid expert: its card lists model.layers.0.q, and it has no factors for it"
    ),
    (
      card([first], rank: 3), factors(first),
      "b#x is not a valid expert: the factors of model.layers.0.q are not two of rank 3"
    ),
    (
      card([first]), Array(factors(first).prefix(1)),
      "b#x is not a valid expert: the factors of model.layers.0.q are not two of rank 2"
    ),
    (
      card([]), factors(first),
      "b#x is not a valid expert: its card does not list model.layers.0.q, and it has lora_A.weight"
    ),
    (
      card([]), [("q.weight", [1])],
      "b#x is not a valid expert: its tensor q.weight does not begin with p."
    ),
    (
      card(["model.layers.7.q"]), factors("model.layers.7.q"),
      "b#x: the adapter changes \"model.layers.7.q\", which the base does not have" + elsewhere
    ),
    (
      card([first]), factors(first, input: 5),
      "b#x: the adapter's tensors for \"model.layers.0.q\" are for a weight of [6, 5], and the base has [6, 4]"
        + elsewhere
    ),
    (
      card([first]), factors(first, output: 8),
      "b#x: the adapter's tensors for \"model.layers.0.q\" are for a weight of [8, 4], and the base has [6, 4]"
        + elsewhere
    ),
    (
      card([embedding]),
      [
        ("p.model.embed_tokens.lora_embedding_A", [2, 21]),
        ("p.model.embed_tokens.lora_embedding_B", [4, 2]),
      ],
      "b#x: the adapter's tensors for \"model.embed_tokens\" are for a weight of [21, 4], and the base has [20, 4]"
        + elsewhere
    ),
    (
      card([first]), factors(first) + [("p.\(first).lora_magnitude_vector", [4])],
      "b#x: the tensor \"model.layers.0.q.lora_magnitude_vector\" has the shape [4], and the base asks for the shape [6]"
        + elsewhere
    ),
    (
      card([]), [("p.model.norm.weight", [5])],
      "b#x: the tensor \"model.norm.weight\" has the shape [5], and the base asks for the shape [4]"
        + elsewhere
    ),
    (
      card(
        [],
        [
          (
            "tokens",
            [["with": "p.model.embed_tokens.token_adapter.trainable_tokens_delta", "indices": [20]]]
          )
        ]),
      [("p.model.embed_tokens.token_adapter.trainable_tokens_delta", [1, 4])],
      "b#x: the tensor \"model.embed_tokens.token_adapter.trainable_tokens_delta\" has token 20, and the base asks for tokens below 20"
        + elsewhere
    ),
    (
      card([first], [("layer_replication", [[1, 2]])]), factors(first),
      "b#x: the adapter's tensors for \"model.layers.0.q\" are for a weight of [6, 4], and the base has [8, 4]"
        + elsewhere
    ),
  ]

  @Test(arguments: bad.indices) func `what does not fit`(index: Int) throws {
    let (card, tensors, expected) = Self.bad[index]
    #expect(try sentence { try Self.check(card, tensors) } == expected)
  }

  @Test func `shapes are never overridden`() throws {
    let scratch = try Scratch()
    let source = try scratch.bundle(
      "source.lmoe",
      [
        (
          "expert/x", IdentityTests.card(.string(IdentityTests.one)),
          try IdentityTests.lora(2, input: 4, output: 6)
        )
      ])
    for (number, sourceID) in [IdentityTests.one, IdentityTests.two, nil].enumerated() {
      let target = try scratch.base(
        "\(number).lmoe", [("q.weight", [6, 5])], sourceID: sourceID.map(JSON.string) ?? .null)
      let found = try sentence {
        try target.adding(try StoredExpert("x", in: source), as: "x", allowsMismatch: true)
      }
      #expect(
        found
          == "\(source.path)#x: the adapter's tensors for \"q\" are for a weight of [6, 4], and the base has [6, 5]"
          + Self.elsewhere)
    }
    let homeless = try scratch.bundle("homeless.lmoe", [])
    #expect(
      try sentence { try homeless.adding(try StoredExpert("x", in: source), as: "x") }
        == "\(homeless.path) has no base bank; import one first")
  }

  @Test func `names of a bare decoder and of a tied head`() throws {
    let scratch = try Scratch()
    let shapes = try BaseShapes(
      try scratch.base("bare.lmoe", [("embed_tokens.weight", [20, 4]), ("layers.0.q.weight", [6, 4])]))
    #expect(
      shapes.shape("model.layers.0.q.weight") == [6, 4] && shapes.shape("layers.0.q.weight") == [6, 4])
    #expect(shapes.shape("lm_head.weight") == [20, 4] && shapes.shape("lm_head.bias") == nil)
    #expect(shapes.shape("layers.1.q.weight") == nil && shapes.sourceID == nil && shapes.name == nil)
  }
}
