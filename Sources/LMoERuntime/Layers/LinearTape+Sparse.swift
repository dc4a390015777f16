import LMoECore

extension LinearTape {
  /// One layer with experts that few rows have, on its way back.
  struct SparseBackward {
    let call: BackwardCall
    let experts: SparseExperts
    let slot: TrainingWorkspace.Slot
    let x: Rows

    /// Q ⊙ Ĝ.
    var q: Rows { slot.q.rows(experts.pairs, experts.rank) }

    /// The gradients of the weights and of the factors.
    func run(_ pass: TrainingPass) {
      guard let decider = call.tape.decider(pass) else { return }
      let input = pass.dropout > 0 ? slot.dropped.rows(x.count, x.width) : x
      if pass.dropout > 0 { call.tape.redrop(x, into: input, pass) }
      pass.compute.timed(.products) {
        experts.backward(
          call.gradient, input, call.tape.u, into: q, decider.gammas, pass.compute, pass.workspace)
      }
    }

    /// What flows back to the input, beside what the base lets through.
    func passOn(_ dx: Rows, _ pass: TrainingPass) {
      guard pass.dropout > 0 else {
        spread(dx, pass)
        return
      }
      let dropped = slot.droppedGradient.rows(x.count, x.width)
      pass.compute.forEachRow(x.count, width: x.width) { dropped[$0].clear() }
      spread(dropped, pass)
      call.tape.undrop(dropped, into: dx, pass)
    }

    private func spread(_ dx: Rows, _ pass: TrainingPass) {
      pass.compute.timed(.products) { experts.passOn(q, to: dx, pass.compute, pass.workspace) }
    }
  }
}
