import Foundation
import LMoECore
import LMoEExperts
import Testing

/// What the reference model has to be by definition.
@Suite struct ReferenceModelTests {
  private func largest(_ a: ReferenceMatrix, minus b: ReferenceMatrix) -> Double {
    a.combined(with: b, -).values.map(abs).max() ?? 0
  }

  private func gated(
    _ normaliser: ReferenceGate.Normaliser, _ score: ReferenceGate.Score = .linear,
    _ scope: ReferenceGate.Scope = .layer, seed: Int = 1
  ) -> (model: ReferenceModel, documents: [ReferenceDocument]) {
    var random = TinyReference(seed: seed)
    var model = random.model(.llama)
    model.experts = random.experts(head: false)
    model.gate = random.gate(score, scope, normaliser, for: model)
    return (model, random.documents([6, 5]))
  }

  @Test(arguments: MixtureCase.all.filter { !$0.name.hasSuffix("bias-layer") })
  func `logits and weights are those that PyTorch computes`(item: MixtureCase) throws {
    let bundle = try item.bundle(RuntimeFixture())
    let model = try ReferenceModel(bundle, gate: "g")
    let expected = try item.expected()
    let tokens = try expected.integers("input_ids")
    let found = model.loss([
      ReferenceDocument(tokens: tokens, isTarget: tokens.map { _ in true })
    ])
    let positions = try expected.integers("positions")
    let logits = try expected.floats("logits")
    let rows = ReferenceMatrix(positions.count, logits.count / positions.count, logits)
    let own = ReferenceMatrix(rows.rows, rows.columns, positions.flatMap(found.logits.row))
    // They are stored in single precision.
    #expect(largest(own, minus: rows) <= 1e-6 * (logits.map(abs).max() ?? 0))
    for (place, members) in found.gateWeights {
      guard expected.has("gate/" + place) else { continue }
      let weights = try expected.floats("gate/" + place)
      for (column, expert) in item.experts.enumerated() {
        guard let own = members[expert.name] else { continue }
        for token in tokens.indices {
          #expect(abs(own[token] - weights[token * item.experts.count + column]) <= 1e-7, "\(place)")
        }
      }
    }
  }

  @Test func `documents packed together are those by themselves`() {
    let (model, documents) = gated(.topKRaw(2))
    let packed = model.loss(documents).logits
    let apart = documents.flatMap { model.loss([$0]).logits.values }
    #expect(largest(packed, minus: ReferenceMatrix(11, 17, apart)) < 1e-13)
  }

  @Test func `a token changes nothing before it, and nothing beyond the window`() {
    var random = TinyReference(seed: 4)
    var model = random.model(.mistral)
    model.configuration.windows = [2, 2]
    var documents = random.documents([6])
    let before = model.loss(documents).logits
    documents[0].tokens[2] = (documents[0].tokens[2] + 1) % 17
    let after = model.loss(documents).logits
    // Two layers that each see one token back: as far as two tokens on.
    #expect((0..<6).map { before.row($0) == after.row($0) } == [true, true, false, false, false, true])
  }

  @Test func `constant weights are weights of the base changed so much`() {
    let (gated, documents) = gated(.none, .constant, .global)
    var model = gated
    model.gate?.temperature = 0.5
    var merged = model
    (merged.experts, merged.gate) = ([], nil)
    for expert in model.experts {
      let share = expert.name == "always" ? 1 : 2 * (model.gate?.scores[expert.name] ?? 0)
      for (name, module) in expert.modules {
        var delta = module.b.times(module.a).map { module.scaling * $0 }
        if let magnitude = module.magnitude {
          let whole = model.weight(of: name).combined(with: delta, +)
          let factors = zip(magnitude, whole.rowNorms).map { $0 / $1 }
          delta = whole.combined(with: ReferenceMatrix(column: factors), *)
            .combined(with: model.weight(of: name), -)
        }
        merged.weights[name + ".weight"] = merged.weight(of: name).combined(with: delta) { $0 + share * $1 }
      }
    }
    #expect(largest(model.loss(documents).logits, minus: merged.loss(documents).logits) < 1e-12)
  }

  @Test func `with a label the weights are those of its expert`() {
    let (model, documents) = gated(.softmax)
    var labelled = documents
    labelled[1].label = "third"
    let weights = model.loss(labelled).gateWeights
    let without = model.loss(documents).gateWeights
    for (place, members) in weights {
      for (member, values) in members {
        #expect(Array(values.suffix(5)) == [Double](repeating: member == "third" ? 1 : 0, count: 5))
        // The first document is another text, untouched.
        #expect(Array(values.prefix(6)) == without[place].map { Array($0[member, default: []].prefix(6)) })
      }
    }
    var alone = model
    alone.gate = nil
    alone.experts.removeAll { !["third", "always"].contains($0.name) }
    #expect(
      largest(
        model.loss([labelled[1]]).logits, minus: alone.loss([documents[1]]).logits) < 1e-13)
  }

  @Test func `top-k leaves k, renormalised to one`() {
    for (normaliser, sumsToOne) in [
      (ReferenceGate.Normaliser.topKRenormalised(2), true), (.topKRaw(2), false),
    ] {
      let (model, documents) = gated(normaliser)
      for (place, members) in model.loss(documents).gateWeights {
        for token in 0..<11 {
          let row = members.values.map { $0[token] }
          #expect(row.count { $0 > 0 } == 2, "\(place)")
          #expect((abs(row.reduce(0, +) - 1) < 1e-14) == sumsToOne)
        }
      }
    }
  }

  /// With one token each number can be worked out by hand.
  @Test func `the losses of the gate, by hand`() {
    let scores = ["": 0.3, "third": -0.5, "dora": 1.1, "plain": 0.2]
    let t = scores.mapValues { $0 / 0.8 }
    let sum = t.values.reduce(0) { $0 + exp($1) }
    let p = t.mapValues { exp($0) / sum }
    var (model, documents) = gated(.softmax, .constant, .global)
    model.gate?.scores = scores
    documents[0].label = "dora"
    let dense = model.loss(documents).parts
    #expect(abs(dense.balance - 4 * p.values.reduce(0) { $0 + $1 * $1 }) < 1e-14)
    #expect(abs(dense.z - log(sum) * log(sum)) < 1e-14)
    #expect(abs(dense.mutualInformation) < 1e-14)
    #expect(abs(dense.label + log(p["dora", default: 0])) < 1e-14)
    for k in [1, 2, 3] {
      model.gate?.normaliser = .topKRaw(k)
      // 1.1, 0.3 and 0.2 in this order.
      let chosen = ["dora", "", "plain"].prefix(k).reduce(0) { $0 + p[$1, default: 0] }
      #expect(abs(model.loss(documents).parts.balance - 4 * chosen / Double(k)) < 1e-14)
    }
  }

  @Test func `sharp tokens spread over experts have all of the information`() {
    var (model, documents) = gated(.topKRaw(1), .dot, .global)
    // Four tokens, each with an expert of its own.
    model.gate?.always = []
    documents = [ReferenceDocument(tokens: [0, 1, 2, 3], isTarget: [true, true, true, true])]
    for token in 0..<4 {
      for column in 0..<12 {
        model.weights["model.embed_tokens.weight"]?[token, column] = column == token ? 1 : 0
      }
    }
    for (index, expert) in ["", "third", "dora", "plain"].enumerated() {
      model.gate?.rows["global"]?[expert] = (0..<12).map { $0 == index ? 100 : 0 }
    }
    let parts = model.loss(documents).parts
    #expect(abs(parts.mutualInformation + log(4)) < 1e-12)
    #expect(abs(parts.balance - 1) < 1e-12)
  }

  @Test func `of equal scores the first is taken`() {
    var (model, documents) = gated(.topKRaw(1), .constant, .global)
    model.gate?.scores = ["third": 1, "dora": 1, "plain": 1]
    let weights = model.loss(documents).gateWeights["global"]
    #expect(weights?["third"]?.first == 1.0 / 3)
    #expect(weights?["dora"]?.first == 0)
    #expect(weights?[""] == nil)
  }

  @Test func `parameters have the names of gradients`() {
    for score in [ReferenceGate.Score.linear, .constant] {
      let (model, documents) = gated(.softmax, score)
      for (name, gradient) in model.lossAndGradients(documents).gradients {
        #expect(model[parameter: name].count == gradient.count, "\(name)")
        var other = model
        other[parameter: name][0] += 1
        #expect(other[parameter: name][0] == model[parameter: name][0] + 1)
      }
    }
  }

  @Test func `a gradient is compared tensor by tensor`() {
    let (model, documents) = gated(.softmax)
    let result = model.lossAndGradients(documents)
    var found = result.gradients.mapValues { $0.map { Float($0) } }
    #expect(result.furthest(from: found).deviation < 1e-6)
    let name = "third/model.layers.0.self_attn.q_proj.lora_B"
    let largest = Float(result.gradients[name, default: []].map(abs).max() ?? 0)
    found[name]?[3] += largest / 100
    #expect(result.furthest(from: found).name == name)
    #expect(abs(result.furthest(from: found).deviation - 0.01) < 1e-6)
    found[name]?[3] = .nan
    #expect(result.furthest(from: found) == (name, .infinity))
    found[name] = nil
    #expect(result.furthest(from: found) == (name, .infinity))
  }
}
