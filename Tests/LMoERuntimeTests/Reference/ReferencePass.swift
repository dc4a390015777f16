/// One forward pass of a reference model on a tape.
final class ReferencePass {
  let model: ReferenceModel
  let documents: [ReferenceDocument]
  let tape: Tape
  /// What has gradients, by name.
  private(set) var trained: [String: Tape.Variable] = [:]
  /// The places where the gate decided.
  var decisions: [String: Decision] = [:]
  private var leaves: [String: Tape.Variable] = [:]
  /// What each expert adds to each linear layer, and the weight it has there [T, 1], by `<expert>/<module>`.
  private(set) var additions: [String: (delta: Tape.Variable, share: Tape.Variable)] = [:]
  /// The norms that magnitudes stand in for.
  private let norms: [String: [Double]]
  /// The tokens fed: document, position and token of each.
  let fed: [(document: Int, position: Int, token: Int)]

  init(_ model: ReferenceModel, _ documents: [ReferenceDocument], differentiates: Bool) {
    (self.model, self.documents) = (model, documents)
    tape = Tape(records: differentiates)
    norms = model.heldNorms.isEmpty ? model.norms : model.heldNorms
    fed = documents.enumerated().flatMap { index, document in
      document.tokens.dropLast(document.feedsLast ? 0 : 1).enumerated().map { (index, $0, $1) }
    }
  }

  /// Something of a name, put on the tape once.
  func leaf(_ name: String, _ value: @autoclosure () -> ReferenceMatrix, isTrained: Bool) -> Tape.Variable {
    if let leaf = leaves[name] { return leaf }
    let leaf = tape.leaf(value(), isTrained: isTrained)
    leaves[name] = leaf
    if isTrained { trained[name] = leaf }
    return leaf
  }

  /// A tensor of the base.
  func weight(_ name: String) -> Tape.Variable {
    guard let value = model.weights[name] else { preconditionFailure("no tensor \(name)") }
    return leaf(name, value, isTrained: model.trainedWeights.contains(name))
  }

  /// The logits of all tokens fed.
  func logits() -> Tape.Variable {
    var x = tape.rows(fed.map(\.token), of: weight("model.embed_tokens.weight"))
    decideForAll(x)
    for layer in 0..<model.configuration.layers {
      let name = "model.layers.\(layer)"
      let normed = norm(x, name + ".input_layernorm")
      decide(forLayer: name, normed)
      x = tape.sum(x, attention(normed, layer))
      x = tape.sum(x, feedForward(norm(x, name + ".post_attention_layernorm"), name + ".mlp."))
    }
    return linear("lm_head", norm(x, "model.norm"))
  }

  private func norm(_ x: Tape.Variable, _ name: String) -> Tape.Variable {
    tape.rootMeanSquareNorm(x, weight(name + ".weight"), epsilon: model.configuration.epsilon)
  }

  private func feedForward(_ x: Tape.Variable, _ name: String) -> Tape.Variable {
    let gate = tape.silu(linear(name + "gate_proj", x))
    return linear(name + "down_proj", tape.elementwise(gate, linear(name + "up_proj", x)))
  }

  private func attention(_ x: Tape.Variable, _ layer: Int) -> Tape.Variable {
    let name = "model.layers.\(layer).self_attn."
    let configuration = model.configuration
    let angles = fed.map { token in configuration.frequencies.map { $0 * Double(token.position) } }
    func turned(_ which: String) -> Tape.Variable {
      var heads = linear(name + which + "_proj", x)
      if model.weights[name + which + "_norm.weight"] != nil { heads = norm(heads, name + which + "_norm") }
      return tape.rotated(heads, by: angles, magnitude: configuration.rotaryMagnitude)
    }
    let sees = fed.map { one in
      fed.map { other in
        guard one.document == other.document, other.position <= one.position else { return false }
        guard let window = configuration.windows[layer] else { return true }
        return one.position - window < other.position
      }
    }
    let mixed = tape.attention(
      turned("q"), turned("k"), linear(name + "v_proj", x), heads: configuration.heads,
      keyHeads: configuration.keyValueHeads, sees: sees)
    return linear(name + "o_proj", mixed)
  }

  /// W·x + bias + Σᵢ gᵢ·Δᵢ(x).
  private func linear(_ module: String, _ x: Tape.Variable) -> Tape.Variable {
    decide(forModule: module, x)
    let plain = tape.linear(x, weight(model.weightName(of: module)))
    var result = plain
    if model.weights[module + ".bias"] != nil { result = tape.sum(result, weight(module + ".bias")) }
    for expert in model.experts {
      guard let part = expert.modules[module], let share = share(of: expert.name, in: module) else {
        continue
      }
      let delta = delta(of: part, "\(expert.name)/\(module)", isTrained: expert.isTrained, x, plain: plain)
      additions["\(expert.name)/\(module)"] = (delta, share)
      result = tape.sum(result, tape.elementwise(delta, share))
    }
    return result
  }

  /// s·B·(A·x), or with magnitudes (c − 1) ⊙ W·x + c ⊙ s·B·(A·x) with c = m / ‖W + s·B·A‖, the norm a constant.
  private func delta(
    of part: ReferenceExpert.Module, _ name: String, isTrained: Bool, _ x: Tape.Variable,
    plain: Tape.Variable
  ) -> Tape.Variable {
    let a = leaf(name + ".lora_A", part.a, isTrained: isTrained)
    let b = leaf(name + ".lora_B", part.b, isTrained: isTrained)
    let low = tape.scaled(tape.linear(tape.linear(x, a), b), part.scaling)
    guard let magnitude = part.magnitude, let norms = norms[name] else { return low }
    let m = leaf(name + ".magnitude", ReferenceMatrix(row: magnitude), isTrained: isTrained)
    let c = tape.elementwise(m, tape.leaf(ReferenceMatrix(row: norms.map { 1 / $0 })))
    return tape.sum(
      tape.elementwise(plain, tape.shifted(c, by: -1)), tape.elementwise(low, c))
  }
}
