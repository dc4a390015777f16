private import CLMoEKernels

/// SwiGLU in training: keeps the outputs of its first two layers [T, intermediate].
final class FeedForwardTape {
  let gate: LinearTape
  let up: LinearTape
  let down: LinearTape
  private var gated: Rows
  private var upward: Rows
  private let memory: [Activations]

  init(tapes: [LinearTape], memory: TapeMemory) {
    self.memory = [memory.next(), memory.next()]
    (gate, up, down) = (tapes[0], tapes[1], tapes[2])
    (gated, upward) = (self.memory[0].rows(0, 1), self.memory[1].rows(0, 1))
  }

  /// Its linear layers.
  var linears: [LinearTape] { [gate, up, down] }

  /// Floats that a row keeps for the way back.
  var keptFloats: Int { gate.linear.outputs + up.linear.outputs }

  /// Adds the result for input `x` [T, hidden] to `residual` [T, hidden].
  func forward(_ x: Rows, addingTo residual: Rows, in pass: TrainingPass) {
    gated = memory[0].rows(x.count, gate.linear.outputs)
    upward = memory[1].rows(x.count, up.linear.outputs)
    LinearTape.forward(
      [LinearTape.Call(tape: gate, output: gated), LinearTape.Call(tape: up, output: upward)], x, in: pass)
    LinearTape.forward(
      [LinearTape.Call(tape: down, output: residual, accumulates: true)], product(pass), in: pass)
  }

  /// silu(gate) ⊙ up, which is not kept.
  private func product(_ pass: TrainingPass) -> Rows {
    let out = pass.workspace.gated.rows(gated.count, gated.width)
    let (gated, upward) = (gated, upward)
    pass.compute.forEachRow(gated.count, width: gated.width) { rows in
      unsafe lmoe_silu_product(
        gated.row(rows.lowerBound), upward.row(rows.lowerBound), rows.count * gated.width,
        out.row(rows.lowerBound))
    }
    return out
  }

  /// Gradients, given that of the output [T, hidden].
  ///
  /// - Parameters:
  ///   - x: The input [T, hidden]; computed when it is asked for.
  ///   - dx: Where the gradient of the input goes; nil if nobody needs it.
  ///   - goesOn: Whether anything but the last layer is trained, or comes before.
  func backward(_ x: Rows, _ gradient: Rows, into dx: Rows?, goesOn: Bool, in pass: TrainingPass) {
    let product = product(pass)
    let d = pass.workspace.gatedGradient.rows(gated.count, gated.width)
    LinearTape.backward(
      [LinearTape.BackwardCall(tape: down, gradient: gradient)], product, into: goesOn ? d : nil, in: pass)
    guard goesOn else { return }
    let gateGradient = pass.workspace.gateGradient.rows(gated.count, gated.width)
    let (gated, upward) = (gated, upward)
    pass.compute.forEachRow(gated.count, width: gated.width) { rows in
      let first = rows.lowerBound
      unsafe lmoe_silu_product_backward(
        gated.row(first), upward.row(first), d.row(first), rows.count * gated.width,
        gateGradient.row(first), d.row(first))
    }
    LinearTape.backward(
      [
        LinearTape.BackwardCall(tape: gate, gradient: gateGradient),
        LinearTape.BackwardCall(tape: up, gradient: d),
      ], x, into: dx, in: pass)
  }
}
