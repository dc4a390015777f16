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
    norm(x, inputNorm, into: normed, pass)
    if let means = pass.means, means.scope == .layer { means.add(normed, at: name) }
    if let gate {
      let weights = pass.workspace.layerWeights.rows(x.count, gate.width)
      gate.weigh(normed, into: weights, in: pass)
      pass.weights = weights
    }
    attention.forward(normed, addingTo: x, in: pass)
    norm(x, postAttentionNorm, into: normed, pass)
    feedForward.forward(normed, addingTo: x, in: pass)
  }

  private func norm(_ x: Rows, _ norm: RMSNorm, into output: Rows, _ pass: Pass) {
    pass.forEachRow(x.count, width: x.width) { rows in norm.forward(x[rows], into: output[rows]) }
  }
}
