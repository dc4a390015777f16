import LMoECore
import LMoEExperts

/// One layer of a decoder in training: x += Attention(norm(x)), then x += FeedForward(norm(x)).
final class BlockTape {
  let block: DecoderBlock
  let attention: AttentionTape
  let feedForward: FeedForwardTape
  /// The layer's gate, if it has one; it looks at the first norm's output.
  let gate: GateTape?
  /// The residual stream after attention [T, hidden].
  private var middle: Rows
  private let memory: Activations

  init(_ block: DecoderBlock, gate: GateTape?, memory: TapeMemory, tape: (Linear) -> LinearTape) {
    self.block = block
    self.gate = gate
    let a = block.attention
    attention = AttentionTape(a, tapes: [a.query, a.key, a.value, a.output].map(tape), memory: memory)
    let f = block.feedForward
    feedForward = FeedForwardTape(tapes: [f.gate, f.up, f.down].map(tape), memory: memory)
    self.memory = memory.next()
    middle = self.memory.rows(0, 1)
  }

  /// Its linear layers.
  var linears: [LinearTape] { attention.linears + feedForward.linears }
  /// All its gates.
  var gates: [GateTape] { linears.compactMap(\.gate) + [gate].compactMap(\.self) }
  /// What is trained of it.
  var parameters: [Parameter] { linears.flatMap(\.parameters) + (gate?.parameters ?? []) }

  /// Writes the layer's output for the residual stream `x` [T, hidden] to `out` [T, hidden], which may be `x`.
  func forward(_ x: Rows, into out: Rows, in pass: TrainingPass) {
    let normed = normed(x, block.inputNorm, pass)
    if let gate {
      gate.forward(normed, in: pass)
      pass.gate = gate
    }
    middle = memory.rows(x.count, x.width)
    copy(x, to: middle, pass)
    attention.forward(normed, addingTo: middle, in: pass)
    let second = self.normed(middle, block.postAttentionNorm, pass)
    copy(middle, to: out, pass)
    feedForward.forward(second, addingTo: out, in: pass)
  }

  /// Turns the gradient of the output into that of the input, in its place.
  ///
  /// - Parameters:
  ///   - x: The input, as it was [T, hidden].
  ///   - gradient: dL/d output [T, hidden], and afterwards dL/dx.
  ///   - passesOn: Whether anything before this layer needs dL/dx; else it is left as it is.
  ///   - needsWeights: Whether the whole model's gate needs the gradients of its weights.
  func backward(
    _ x: Rows, _ gradient: Rows, passesOn: Bool, needsWeights: Bool, in pass: TrainingPass
  ) {
    if let gate { pass.gate = gate }
    // What has to be known of which parts: where parameters are, and where weights have gradients.
    let gateNeeds = needsWeights || gate?.isTrained == true || (passesOn && gate?.dependsOnInput == true)
    func needs(_ tapes: [LinearTape]) -> Bool {
      tapes.contains { $0.isTrained || (gateNeeds && $0.linear.experts != nil) }
    }
    let needsInputs = passesOn || needs([attention.query, attention.key, attention.value])
    let needsAttention = needsInputs || needs([attention.output])
    let needsFirst = needsAttention || needs([feedForward.gate, feedForward.up])
    guard needsFirst || needs([feedForward.down]) else { return }
    let normed = normed(middle, block.postAttentionNorm, pass)
    let dn = pass.workspace.gradient.rows(x.count, x.width)
    feedForward.backward(normed, gradient, into: needsAttention ? dn : nil, goesOn: needsFirst, in: pass)
    guard needsAttention else { return }
    unnorm(block.postAttentionNorm, middle, dn, into: gradient, pass)
    let dm = pass.workspace.mixed.rows(x.count, attention.mixed.width)
    LinearTape.backward(
      [LinearTape.BackwardCall(tape: attention.output, gradient: gradient)], attention.mixed,
      into: needsInputs ? dm : nil, in: pass)
    guard needsInputs else { return }
    let first = self.normed(x, block.inputNorm, pass)
    attention.backward(first, dm, into: passesOn ? dn : nil, layerGate: gate, in: pass)
    if passesOn { unnorm(block.inputNorm, x, dn, into: gradient, pass) }
  }

  private func normed(_ x: Rows, _ norm: RMSNorm, _ pass: TrainingPass) -> Rows {
    let out = pass.workspace.normed.rows(x.count, x.width)
    pass.compute.forEachRow(x.count, width: x.width) { rows in norm.forward(x[rows], into: out[rows]) }
    return out
  }

  private func unnorm(_ norm: RMSNorm, _ x: Rows, _ dy: Rows, into dx: Rows, _ pass: TrainingPass) {
    pass.compute.forEachRow(x.count, width: x.width) { rows in
      norm.backward(x[rows], dy[rows], into: dx[rows], accumulates: true)
    }
  }

  private func copy(_ x: Rows, to out: Rows, _ pass: TrainingPass) {
    pass.compute.forEachRow(x.count, width: x.width) { rows in
      unsafe out.row(rows.lowerBound).update(from: x.row(rows.lowerBound), count: rows.count * x.width)
    }
  }
}
