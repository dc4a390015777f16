import Testing

/// Every gradient of the reference model against finite differences.
@Suite struct ReferenceGradientTests {
  static let normalisers: [ReferenceGate.Normaliser] = [
    .none, .softmax, .topKRenormalised(2), .topKRaw(1), .topKRaw(2),
  ]
  static let gates: [(ReferenceGate.Score, ReferenceGate.Scope)] =
    [.constant, .linear, .dot, .absoluteDot, .cosine].flatMap { score in
      [.module, .layer, .global].map { (score, $0) }
    }

  @Test(arguments: gates)
  func `experts and gates`(score: ReferenceGate.Score, scope: ReferenceGate.Scope) {
    for (seed, normaliser) in Self.normalisers.enumerated() {
      var random = TinyReference(seed: 7 + seed)
      var model = random.model(.llama)
      model.experts = random.experts(head: scope != .layer)
      model.gate = random.gate(score, scope, normaliser, for: model)
      let gradients = ReferenceGradients(model, random.documents())
      for name in model.experts.map(\.name) + ["gate"] {
        #expect(
          gradients.wrong(2, elements: 2, seed: seed) { $0.hasPrefix(name + "/") } == [], "\(normaliser)")
      }
    }
  }

  @Test(arguments: TinyReference.Family.allCases)
  func `every tensor of the base and of experts on every layer`(family: TinyReference.Family) {
    var random = TinyReference(seed: 50)
    var model = random.model(family)
    model.trainedWeights = Set(model.weights.keys)
    let modules = (0..<2).flatMap { layer in
      TinyReference.linears.map { "model.layers.\(layer).\($0.name)" }
    }
    model.experts = [
      random.expert("one", scaling: 0.8, modules.enumerated().map { ($0.element, 1 + $0.offset % 3) }),
      random.expert("two", scaling: 0.6, dora: true, modules.map { ($0, 2) } + [("lm_head", 1)]),
    ]
    // The second has the tokens of the first.
    var documents = random.documents()
    documents[1].tokens = documents[0].tokens.dropLast()
    let gradients = ReferenceGradients(model, documents)
    #expect(gradients.result.gradients.count == model.weights.count + 14 * 2 + 15 * 3)
    #expect(gradients.wrong(elements: 2, seed: 1) == [])
  }

  /// An objective with the cross-entropy, or one of the others by itself.
  static let objectives: [(String, ReferenceObjective)] = [
    ("balance", ReferenceObjective(crossEntropy: 0, balance: 1)),
    ("z", ReferenceObjective(crossEntropy: 0, z: 1)),
    ("mutual information", ReferenceObjective(crossEntropy: 0, mutualInformation: 1)),
    ("label", ReferenceObjective(crossEntropy: 0, label: 1)),
    (
      "all of them",
      ReferenceObjective(crossEntropy: 0.5, balance: 0.3, z: 0.02, mutualInformation: 0.1, label: 0.4)
    ),
  ]

  @Test(arguments: objectives.map(\.1))
  func `the losses of the gate`(objective: ReferenceObjective) {
    for (seed, normaliser) in Self.normalisers.enumerated() {
      for scope in [ReferenceGate.Scope.module, .layer, .global] {
        var random = TinyReference(seed: 90 + seed)
        var model = random.model(.qwen3)
        model.experts = random.experts(head: scope == .global)
        model.gate = random.gate(.linear, scope, normaliser, for: model)
        var documents = random.documents([4, 3, 3])
        documents[1].label = "third"
        documents[2].label = seed % 2 == 0 ? "" : "plain"
        documents[0].feedsLast = false
        let gradients = ReferenceGradients(model, documents, objective)
        #expect(gradients.wrong(3, elements: 2, seed: seed) { $0.hasPrefix("gate/") } == [])
        #expect(gradients.wrong(3, elements: 2, seed: seed) { !$0.hasPrefix("gate/") } == [])
      }
    }
  }

  @Test func `what is frozen has no gradient and changes no other`() {
    var random = TinyReference(seed: 3)
    var model = random.model(.llama)
    model.experts = random.experts(head: true)
    model.gate = random.gate(.linear, .module, .softmax, for: model)
    let documents = random.documents()
    let all = model.lossAndGradients(documents).gradients
    model.experts[0].isTrained = false
    let experts = model.lossAndGradients(documents).gradients
    #expect(experts == all.filter { !$0.key.hasPrefix("plain/") })
    model.gate?.isTrained = false
    #expect(
      model.lossAndGradients(documents).gradients == experts.filter { !$0.key.hasPrefix("gate/") })
    #expect(model.loss(documents).gradients.isEmpty)
  }
}
