/// A decoder with experts and a gate in double precision, written from the registry (§5.1.1, §5.2, §5.3) and from
/// no other code: slow, plain, and differentiated by a tape.
struct ReferenceModel: Sendable {
  /// Its shape.
  var configuration: ReferenceConfiguration
  /// The base's tensors by their names in a checkpoint; norms and biases are one row.
  ///
  /// A linear layer has a bias, and queries and keys a norm, if there is a tensor for it. The head is the
  /// embedding if there is no `lm_head.weight`.
  var weights: [String: ReferenceMatrix]
  /// Tensors of the base that are to have gradients too, by their names.
  var trainedWeights: Set<String> = []
  /// The experts.
  var experts: [ReferenceExpert] = []
  /// What weighs them; without one every expert has weight 1.
  var gate: ReferenceGate?
  /// ‖W + s·B·A‖ of each row by `<expert>/<module>` in place of those that the parameters have; empty for these.
  ///
  /// Gradients treat the norms as constants, and finite differences have to as well.
  var heldNorms: [String: [Double]] = [:]
}

/// What the numbers of a decoder depend on besides its weights.
struct ReferenceConfiguration: Sendable {
  var layers: Int
  var heads: Int
  var keyValueHeads: Int
  /// ε of every RMSNorm.
  var epsilon: Double
  /// f of each pair of elements of a head.
  var frequencies: [Double]
  /// What cos and sin are multiplied with.
  var rotaryMagnitude = 1.0
  /// How far each layer looks back; nil for all of the document.
  var windows: [Int?]
}

/// A LoRA expert on linear layers.
struct ReferenceExpert: Sendable {
  /// What it does to a linear layer.
  struct Module: Sendable {
    /// A [rank, in].
    var a: ReferenceMatrix
    /// B [out, rank].
    var b: ReferenceMatrix
    /// s.
    var scaling: Double
    /// m of DoRA, one for each output.
    var magnitude: [Double]?
  }

  var name: String
  /// By the name of the linear layer, such as `model.layers.0.self_attn.q_proj` or `lm_head`.
  var modules: [String: Module]
  /// Whether it has gradients.
  var isTrained = true
}

/// What weighs experts.
struct ReferenceGate: Sendable {
  enum Score: Sendable { case constant, linear, dot, absoluteDot, cosine }
  enum Scope: Sendable { case module, layer, global }
  enum Normaliser: Hashable, Sendable {
    case none
    case softmax
    case topKRenormalised(Int)
    case topKRaw(Int)
  }

  var score: Score
  var scope: Scope
  var normaliser: Normaliser
  var temperature = 1.0
  /// The routed members in the order of their ids, which decides between equal scores; "" is the null expert.
  var routed: [String]
  /// The members with weight 1 everywhere.
  var always: [String] = []
  /// Place → expert → row, for a linear gate with the bias at the end; a routed member without one is unaware.
  var rows: [String: [String: [Double]]] = [:]
  /// The scores of a constant gate by expert.
  var scores: [String: Double] = [:]
  /// Whether it has gradients.
  var isTrained = true
}

/// A piece of text: attention stays within it, and its positions count from 0.
struct ReferenceDocument: Sendable {
  var tokens: [Int]
  /// Whether to predict a token from those before it; the first is never predicted.
  var isTarget: [Bool]
  /// The expert that its tokens are to be routed to, "" for the null expert; it takes the gate's place.
  var label: String?
  /// Whether the last token, which predicts nothing, is fed to the model and so has a part in the gate's losses.
  var feedsLast = true
}

/// What is minimised: the sum of these times their weights.
struct ReferenceObjective: Sendable {
  /// The mean cross-entropy of all targets.
  var crossEntropy = 1.0
  /// E·Σ fᵢ·Pᵢ for top-k, E·Σ Pᵢ² else.
  var balance = 0.0
  /// mean (log Σ exp z)².
  var z = 0.0
  /// mean H(p) − H(mean p), the mutual information of token and expert with its sign turned.
  var mutualInformation = 0.0
  /// −log p of the label.
  var label = 0.0
}

/// What a pass over documents gives.
struct ReferenceResult: Sendable {
  /// The sum that is minimised.
  var loss = 0.0
  /// Its parts, without their weights, whether they have one or not.
  var parts = ReferenceObjective(crossEntropy: 0)
  /// By name: `<expert>/<module>.lora_A` [rank, in], `<expert>/<module>.lora_B` [out, rank],
  /// `<expert>/<module>.magnitude` [out], `gate/<place>/<expert>` as the row of the gate, `gate//<expert>` for
  /// the score of a constant gate, and those of the base by their own names.
  var gradients: [String: [Double]] = [:]
  /// The logits of every token fed [T, vocabulary], documents one after the other.
  var logits = ReferenceMatrix(0, 0)
  /// Place → expert → the weight for each token fed; experts without a part at a place are not listed.
  var gateWeights: [String: [String: [Double]]] = [:]
}

extension ReferenceModel {
  /// Runs documents packed into one batch and differentiates the loss.
  func lossAndGradients(
    _ documents: [ReferenceDocument], _ objective: ReferenceObjective = ReferenceObjective()
  ) -> ReferenceResult {
    ReferencePass(self, documents, differentiates: true).result(objective)
  }

  /// The same without gradients.
  func loss(
    _ documents: [ReferenceDocument], _ objective: ReferenceObjective = ReferenceObjective()
  ) -> ReferenceResult {
    ReferencePass(self, documents, differentiates: false).result(objective)
  }

  /// ‖W + s·B·A‖ of each row of every module with DoRA, by `<expert>/<module>`.
  var norms: [String: [Double]] {
    var norms: [String: [Double]] = [:]
    for expert in experts {
      for (name, module) in expert.modules where module.magnitude != nil {
        let delta = module.b.times(module.a).map { module.scaling * $0 }
        norms["\(expert.name)/\(name)"] = weight(of: name).combined(with: delta, +).rowNorms
      }
    }
    return norms
  }

  /// The weight of a linear layer.
  func weight(of module: String) -> ReferenceMatrix {
    if let weight = weights[weightName(of: module)] { return weight }
    preconditionFailure("no weight for \(module)")
  }

  func weightName(of module: String) -> String {
    let name = module + ".weight"
    return module == "lm_head" && weights[name] == nil ? "model.embed_tokens.weight" : name
  }
}
