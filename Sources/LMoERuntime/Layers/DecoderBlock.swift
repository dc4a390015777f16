import LMoEExperts

/// One layer of a decoder: x += Attention(norm(x)), then x += FeedForward(norm(x)).
struct DecoderBlock: Sendable {
  /// Its name in the model (`model.layers.0`).
  let name: String
  let inputNorm: RMSNorm
  let attention: Attention
  let postAttentionNorm: RMSNorm
  let feedForward: FeedForward
  /// Weighs the experts of this layer's modules, if the layer has a gate; it looks at the first norm's output.
  let gate: GateInstance?

  /// Changes the residual stream `x` [T, hidden].
  func forward(_ x: Rows, in pass: Pass) {
    let normed = pass.workspace.normed.rows(x.count, x.width)
    inputNorm.forward(x, into: normed)
    if let means = pass.means, means.scope == .layer { means.add(normed, at: name) }
    if let gate {
      let weights = pass.workspace.layerWeights.rows(x.count, gate.width)
      gate.weigh(normed, into: weights, in: pass)
      pass.weights = weights
    }
    attention.forward(normed, addingTo: x, in: pass)
    postAttentionNorm.forward(x, into: normed)
    feedForward.forward(normed, addingTo: x, in: pass)
  }
}
