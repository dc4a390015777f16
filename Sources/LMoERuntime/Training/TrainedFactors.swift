import LMoECore

/// What is trained of the experts of one linear layer: the first `ranks` rows of their stacked factors.
final class TrainedFactors: Sendable {
  /// Trained rows of Ā and B̄; the experts that are not trained come after them.
  let ranks: Int
  /// A of the trained experts: ranks × inputs.
  let a: Parameter
  /// B of the trained experts, transposed: ranks × outputs, before magnitudes where there are some.
  let b: Parameter
  /// The magnitudes m of trained experts that have them: 1 × outputs each, by the number of the slot.
  let magnitudes: [Int: Parameter]
  /// ‖W + s·B·A‖ of each output, which stands for a constant in the gradient, by the number of the slot.
  let norms: [Int: Weight]

  init(ranks: Int, a: Parameter, b: Parameter, magnitudes: [Int: Parameter], norms: [Int: Weight]) {
    (self.ranks, self.a, self.b, self.magnitudes, self.norms) = (ranks, a, b, magnitudes, norms)
  }

  /// All of them.
  var parameters: [Parameter] { [a, b] + magnitudes.sorted { $0.key < $1.key }.map(\.value) }
}

extension Linear {
  /// Brings up to date what follows from magnitudes and factors: c = m / ‖W + s·B·A‖, and c ⊙ B.
  func refreshMagnitudes(_ compute: Compute) {
    guard let experts, let trained = experts.trained, !trained.magnitudes.isEmpty else { return }
    let (b, up) = (trained.b.values, experts.up.mutableRows)
    for (index, slot) in experts.slots.enumerated() where slot.ranks.upperBound <= trained.ranks {
      guard let magnitude = trained.magnitudes[index], let norms = trained.norms[index],
        let rescaling = slot.rescaling
      else {
        for rank in slot.ranks { unsafe up.row(rank).update(from: b.row(rank), count: up.width) }
        continue
      }
      let factor = Weight.made(rows: up.width, columns: slot.ranks.count) { out in
        for (column, rank) in slot.ranks.enumerated() {
          for row in 0..<up.width { out[row, column] = b[rank, row] }
        }
      }
      let fresh = DoRA.rowNorms(
        weight, overlay,
        ExpertFactors(a: experts.down[slot.ranks], b: factor, isTransposed: false), scaling: slot.scaling,
        compute)
      let (c, norm) = (rescaling.mutableRows, norms.mutableRows)
      for (column, value) in fresh.enumerated() {
        norm[0, column] = Float(value)
        c[0, column] = DoRA.rescaling(magnitude.values[0, column], value)
        for rank in slot.ranks { up[rank, column] = b[rank, column] * (1 + c[0, column]) }
      }
    }
  }
}
