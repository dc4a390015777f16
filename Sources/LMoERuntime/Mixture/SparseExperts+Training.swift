private import CLMoEKernels
import LMoECore

/// Experts of a linear layer that few rows have, in training.
///
/// Behind a gate that chooses, what a row's other experts would have said has a part in no gradient, not even the gate's:
/// γ counts with the weight of its expert, or not at all.
extension SparseExperts {
  /// Computes U = Aᵢx of every row with each expert it has, and the same times g·s.
  ///
  /// - Parameters:
  ///   - x: The experts' input [T, inputs].
  ///   - u: Where U goes [pairs, r].
  ///   - scaled: Where U ⊙ Ĝ goes [pairs, r].
  func forward(
    _ x: Rows, into u: Rows, scaled: Rows, _ compute: Compute, _ workspace: TrainingWorkspace
  ) {
    let down = experts.down
    forEachGroup(of: x, workspace.sparseInputs, compute) { group, input, worker in
      let (own, product) = (ranks(u, group), ranks(scaled, group))
      compute.compute(.linear(input, down[group.slot.ranks]), into: own, worker)
      for (place, row) in group.rows.enumerated() {
        unsafe lmoe_scale(own.row(place), factor(row, group), own.width, product.row(place))
      }
    }
  }

  /// Adds (U ⊙ Ĝ)·B̄ to `output` [T, outputs].
  func add(_ scaled: Rows, to output: Rows, _ compute: Compute, _ workspace: TrainingWorkspace) {
    let up = experts.up
    spread(scaled, to: output, workspace.sparseProducts, compute) { group, own in
      .plain(own, up[group.slot.ranks])
    }
  }

  /// Adds (Q ⊙ Ĝ)·Ā to `dx` [T, inputs].
  func passOn(_ q: Rows, to dx: Rows, _ compute: Compute, _ workspace: TrainingWorkspace) {
    let down = experts.down
    spread(q, to: dx, workspace.sparseProducts, compute) { group, own in
      .plain(own, down[group.slot.ranks])
    }
  }

  /// Adds the gradients of the gate's weights and of trained factors to what is there.
  ///
  ///     Q = D·B̄ᵀ      γₜᵢ = sᵢ Σ Qₜᵨ Uₜᵨ      dB̄ᵢ = (U ⊙ Ĝ)ᵀ·D      dĀᵢ = (Q ⊙ Ĝ)ᵀ·x
  ///
  /// - Parameters:
  ///   - d: D = dL/dy [T, outputs].
  ///   - x: The experts' input [T, inputs].
  ///   - u: U of the way forward [pairs, r].
  ///   - q: Where Q ⊙ Ĝ goes [pairs, r].
  ///   - gammas: The gradients of the weights [T, experts].
  func backward(
    _ d: Rows, _ x: Rows, _ u: Rows, into q: Rows, _ gammas: Rows, _ compute: Compute,
    _ workspace: TrainingWorkspace
  ) {
    let (up, trained) = (experts.up, experts.trained)
    let inputs = workspace.sparseInputs.rows(compute.pool.count * most, x.width)
    let scaled = workspace.sparseRanks.rows(compute.pool.count * most, rank)
    let transposes = workspace.sparseTransposed.rows(compute.pool.count * 2 * rank, most)
    forEachGroup(of: d, workspace.sparseGradients, compute) { group, gradient, worker in
      let (slot, count) = (group.slot, group.rows.count)
      let (first, width) = (worker * most, slot.ranks.count)
      let (own, product) = (ranks(u, group), scaled[first..<first + count].columns(0..<width))
      let back = ranks(q, group)
      compute.compute(.linear(gradient, up[slot.ranks]), into: back, worker)
      for (place, row) in group.rows.enumerated() {
        let (from, to, factor) = unsafe (own.row(place), back.row(place), factor(row, group))
        gammas[row, slot.expert] += unsafe slot.scaling * lmoe_dot(to, from, width)
        unsafe lmoe_scale(from, factor, width, product.row(place))
        unsafe lmoe_scale(to, factor, width, to)
      }
      guard let trained, slot.ranks.upperBound <= trained.ranks else { return }
      let input = inputs[first..<first + count]
      gather(x, group, into: input)
      for (index, (from, values, to)) in [
        (product, gradient, trained.b.gradient), (back, input, trained.a.gradient),
      ].enumerated() {
        let start = (2 * worker + index) * rank
        let transposed = transposes[start..<start + width].columns(0..<count)
        unsafe lmoe_transpose_strided(
          from.base, count, width, from.stride, transposed.base, transposed.stride)
        compute.compute(.plain(transposed, values), into: to[slot.ranks], accumulates: true, worker)
      }
    }
  }
}
