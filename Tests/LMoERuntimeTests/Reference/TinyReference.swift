import Foundation

/// Small models of random numbers, the same ones every time.
struct TinyReference {
  /// What the families differ in.
  enum Family: CaseIterable { case llama, tiedLlama, mistral, qwen2, qwen3 }

  private var state: UInt64

  init(seed: Int) { state = UInt64(seed) }

  /// Uniform below `count` (SplitMix64).
  mutating func integer(below count: Int) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var bits = state
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((bits ^ (bits >> 31)) % UInt64(count))
  }

  /// Between −√3·deviation and √3·deviation, about `mean`.
  mutating func numbers(_ count: Int, deviation: Double, mean: Double = 0) -> [Double] {
    (0..<count).map { _ in
      mean + deviation * 3.0.squareRoot() * (Double(integer(below: 1 << 40)) / Double(1 << 39) - 1)
    }
  }

  mutating func matrix(_ rows: Int, _ columns: Int, deviation: Double, mean: Double = 0) -> ReferenceMatrix {
    ReferenceMatrix(rows, columns, numbers(rows * columns, deviation: deviation, mean: mean))
  }

  static let hidden = 12
  static let vocabulary = 17
  /// Output and input of each linear layer of a layer: two heads of 6 on one key and value head.
  static let linears: [(name: String, out: Int, in: Int)] = [
    ("self_attn.q_proj", 12, 12), ("self_attn.k_proj", 6, 12), ("self_attn.v_proj", 6, 12),
    ("self_attn.o_proj", 12, 12), ("mlp.gate_proj", 10, 12), ("mlp.up_proj", 10, 12),
    ("mlp.down_proj", 12, 10),
  ]

  mutating func model(_ family: Family) -> ReferenceModel {
    var weights: [String: ReferenceMatrix] = [:]
    weights["model.embed_tokens.weight"] = matrix(Self.vocabulary, Self.hidden, deviation: 1)
    weights["model.norm.weight"] = matrix(1, Self.hidden, deviation: 0.2, mean: 1)
    if family != .tiedLlama {
      weights["lm_head.weight"] = matrix(Self.vocabulary, Self.hidden, deviation: 0.4)
    }
    for layer in 0..<2 {
      let name = "model.layers.\(layer)."
      for norm in ["input_layernorm", "post_attention_layernorm"] {
        weights["\(name)\(norm).weight"] = matrix(1, Self.hidden, deviation: 0.2, mean: 1)
      }
      for linear in Self.linears {
        weights["\(name)\(linear.name).weight"] = matrix(linear.out, linear.in, deviation: 0.35)
        if family == .qwen2, ["q_proj", "k_proj", "v_proj"].contains(where: linear.name.hasSuffix) {
          weights["\(name)\(linear.name).bias"] = matrix(1, linear.out, deviation: 0.3)
        }
      }
      for head in family == .qwen3 ? ["q_norm", "k_norm"] : [] {
        weights["\(name)self_attn.\(head).weight"] = matrix(1, 6, deviation: 0.3, mean: 1)
      }
    }
    return ReferenceModel(
      configuration: ReferenceConfiguration(
        layers: 2, heads: 2, keyValueHeads: 1, epsilon: 1e-5,
        frequencies: (0..<3).map { pow(100, -Double($0) / 3) },
        windows: family == .mistral ? [3, nil] : [nil, nil]),
      weights: weights)
  }

  /// An expert on linear layers, of the rank given there.
  mutating func expert(
    _ name: String, scaling: Double, dora: Bool = false, _ ranks: [(module: String, rank: Int)]
  ) -> ReferenceExpert {
    var modules: [String: ReferenceExpert.Module] = [:]
    for (module, rank) in ranks {
      let shape =
        Self.linears.first { module.hasSuffix($0.name) } ?? ("lm_head", Self.vocabulary, Self.hidden)
      modules[module] = ReferenceExpert.Module(
        a: matrix(rank, shape.in, deviation: 0.4), b: matrix(shape.out, rank, deviation: 0.4),
        scaling: scaling, magnitude: dora ? numbers(shape.out, deviation: 0.2, mean: 1.2) : nil)
    }
    return ReferenceExpert(name: name, modules: modules)
  }

  /// Experts of unequal ranks on different modules: plain, with magnitudes, one that is always on, one that no
  /// gate knows.
  mutating func experts(head: Bool) -> [ReferenceExpert] {
    let attention = "model.layers.0.self_attn."
    return [
      expert(
        "plain", scaling: 0.7,
        [(attention + "q_proj", 2), (attention + "v_proj", 3), ("model.layers.1.mlp.up_proj", 1)]
          + (head ? [("lm_head", 2)] : [])),
      expert(
        "dora", scaling: 1.3, dora: true,
        [(attention + "q_proj", 3), ("model.layers.1.mlp.up_proj", 2), ("model.layers.1.mlp.down_proj", 1)]
          + (head ? [("lm_head", 1)] : [])),
      expert("third", scaling: 2, [(attention + "q_proj", 1), ("model.layers.1.self_attn.o_proj", 2)]),
      expert("always", scaling: 0.5, [(attention + "k_proj", 2), ("model.layers.1.mlp.up_proj", 1)]),
      expert("unknown", scaling: 0.5, [(attention + "q_proj", 2)]),
    ]
  }

  /// A gate over all of them, and the null expert.
  mutating func gate(
    _ score: ReferenceGate.Score, _ scope: ReferenceGate.Scope, _ normaliser: ReferenceGate.Normaliser,
    for model: ReferenceModel
  ) -> ReferenceGate {
    let routed = ["", "third", "dora", "plain"]
    var gate = ReferenceGate(
      score: score, scope: scope, normaliser: normaliser, temperature: 0.8, routed: routed,
      always: ["always"])
    if score == .constant {
      for (name, number) in zip(routed, numbers(4, deviation: 1)) { gate.scores[name] = number }
      return gate
    }
    let modules = Set(model.experts.flatMap { $0.modules.keys }).sorted()
    let places: [String] =
      switch scope {
      case .module: modules
      case .layer: ["model.layers.0", "model.layers.1"]
      case .global: ["global"]
      }
    for place in places {
      let width = scope == .module ? model.weight(of: place).columns : Self.hidden
      for expert in routed {
        gate.rows[place, default: [:]][expert] = numbers(
          width + (score == .linear ? 1 : 0), deviation: score == .cosine ? 1 : 0.5)
      }
    }
    return gate
  }

  mutating func documents(_ lengths: [Int] = [5, 4]) -> [ReferenceDocument] {
    lengths.map { length in
      ReferenceDocument(
        tokens: (0..<length).map { _ in integer(below: Self.vocabulary) },
        isTarget: (0..<length).map { $0 != 2 })
    }
  }
}
