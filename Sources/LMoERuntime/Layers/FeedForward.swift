private import CLMoEKernels

/// SwiGLU: down(silu(gate(x)) ⊙ up(x)).
struct FeedForward: Sendable {
  /// intermediate × hidden.
  let gate: Linear
  /// intermediate × hidden.
  let up: Linear
  /// hidden × intermediate.
  let down: Linear

  /// Adds the result for input `x` [T, hidden] to `residual` [T, hidden].
  func forward(_ x: Rows, addingTo residual: Rows, in pass: Pass) {
    let gated = pass.workspace.gated.rows(x.count, gate.outputs)
    let upward = pass.workspace.upward.rows(x.count, up.outputs)
    Linear.forward(
      [Linear.Call(linear: gate, output: gated), Linear.Call(linear: up, output: upward)], x, in: pass)
    pass.forEachRow(gated.count, width: gated.width) { rows in
      unsafe lmoe_silu_multiply(
        gated.row(rows.lowerBound), upward.row(rows.lowerBound), rows.count * gated.width)
    }
    Linear.forward([Linear.Call(linear: down, output: residual, accumulates: true)], gated, in: pass)
  }
}
