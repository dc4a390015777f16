private import CLMoEKernels
import LMoECore

extension LinearTape {
  /// A layer, and the gradient of its output.
  struct BackwardCall {
    let tape: LinearTape
    /// D = dL/dy [T, outputs].
    let gradient: Rows
  }

  /// Gradients of layers of one input x [T, inputs], those of the parameters added to what is there.
  ///
  ///     Q = D·B̄ᵀ [T, R]      γₜᵢ = sᵢ Σ Qₜᵨ Uₜᵨ over the ranks of i
  ///     dB̄ = (U ⊙ Ĝ)ᵀ·D      dĀ = (Q ⊙ Ĝ)ᵀ·x      dx = D·W₀ + (Q ⊙ Ĝ)·Ā + ζ·W_g
  ///
  /// - Parameters:
  ///   - calls: The layers.
  ///   - x: Their input.
  ///   - dx: Where the gradient of the input goes; nil if nobody needs it.
  ///   - layerGate: The layer's gate, if it looks at this input, and all its weights have their gradients now.
  static func backward(
    _ calls: [BackwardCall], _ x: Rows, into dx: Rows?, layerGate: GateTape? = nil, in pass: TrainingPass
  ) {
    let all = Array(zip(calls, pass.workspace.slots))
    let sparse = all.compactMap { call, slot in
      call.tape.sparse.map { SparseBackward(call: call, experts: $0, slot: slot, x: x) }
    }
    let jobs = all.compactMap { call, slot in
      call.tape.sparse != nil
        ? nil : call.tape.linear.experts.map { Job(call: call, experts: $0, slot: slot, x: x, pass: pass) }
    }
    pass.compute.run(jobs.map(\.ranks))
    for job in jobs { job.weigh(pass) }
    for job in sparse { job.run(pass) }
    var gates: [GateTape] = []
    var products: [Compute.Product] = []
    for gate in calls.compactMap(\.tape.gate) + [layerGate].compactMap(\.self)
    where gate.isTrained || (dx != nil && gate.dependsOnInput) {
      products += gate.backward(x, in: pass)
      gates.append(gate)
    }
    var terms: [Compute.Term] = []
    for call in calls where dx != nil {
      let job = jobs.first { $0.call.tape === call.tape }
      terms.append(.plain(job?.baseGradient(pass) ?? call.gradient, call.tape.linear.weight))
      if let job, pass.dropout == 0 { terms.append(.plain(job.q, job.experts.down)) }
    }
    if let dx {
      products.insert(
        Compute.Product(terms: terms + gates.compactMap(\.inputTerm), output: dx), at: 0)
    }
    for job in jobs { products += job.products(pass, passesOn: dx != nil) }
    pass.compute.run(products)
    for job in jobs { job.finish(dx, pass) }
    if let dx { for job in sparse { job.passOn(dx, pass) } }
    if let dx { for gate in gates { gate.correct(dx, x, in: pass) } }
  }

  /// One layer with experts on its way back.
  private struct Job {
    let call: BackwardCall
    let experts: LinearExperts
    let slot: TrainingWorkspace.Slot
    let x: Rows
    let decider: GateTape?
    /// Q, and then Q ⊙ Ĝ.
    let q: Rows
    let scaled: Rows
    let scaledTransposed: Rows
    let qTransposed: Rows
    let trainedRanks: Int

    init(
      call: BackwardCall, experts: LinearExperts, slot: TrainingWorkspace.Slot, x: Rows, pass: TrainingPass
    ) {
      (self.call, self.experts, self.slot, self.x) = (call, experts, slot, x)
      decider = call.tape.gate ?? pass.gate
      trainedRanks = experts.trained?.ranks ?? 0
      let ranks = experts.ranks
      q = slot.q.rows(x.count, ranks)
      scaled = slot.scaled.rows(x.count, ranks)
      scaledTransposed = slot.scaledTransposed.rows(trainedRanks, x.count)
      qTransposed = slot.qTransposed.rows(trainedRanks, x.count)
    }

    /// Q = D·B̄ᵀ.
    var ranks: Compute.Product { Compute.Product(terms: [.linear(call.gradient, experts.up)], output: q) }

    /// The gradients of the weights; U and Q times Ĝ, and their transposes.
    func weigh(_ pass: TrainingPass) {
      guard let decider else { return }
      let (u, q, scaled, experts) = (call.tape.u, q, scaled, experts)
      let (weights, gammas, trained) = (decider.weights, decider.gammas, trainedRanks)
      let (scaledTransposed, qTransposed) = (scaledTransposed, qTransposed)
      pass.compute.forEachRow(x.count, width: 4 * u.width) { rows in
        for slot in experts.slots {
          let (first, count, expert, scaling) = (
            slot.ranks.lowerBound, slot.ranks.count, slot.expert, slot.scaling
          )
          for row in rows {
            let (ux, qx) = unsafe (u.row(row) + first, q.row(row) + first)
            gammas[row, expert] += unsafe scaling * lmoe_dot(qx, ux, count)
            let factor = weights[row, expert] * scaling
            unsafe lmoe_scale(ux, factor, count, scaled.row(row) + first)
            unsafe lmoe_scale(qx, factor, count, qx)
          }
        }
        guard trained > 0 else { return }
        for (from, to) in [(scaled, scaledTransposed), (q, qTransposed)] {
          unsafe lmoe_transpose_strided(
            from.row(rows.lowerBound), rows.count, trained, from.stride, to.base + rows.lowerBound, to.stride)
        }
      }
      if experts.rescales { weighMagnitudes(decider, pass) }
    }

    /// With magnitudes an expert gives g·[(c − 1) ⊙ W₀x + c ⊙ s·BAx]: γ gains ⟨δ ⊙ W₀x, c − 1⟩, and the
    /// magnitude Σ g·δ ⊙ (W₀x + s·BAx) / ‖W + s·BA‖, of which the first part is here.
    private func weighMagnitudes(_ decider: GateTape, _ pass: TrainingPass) {
      let (plain, gradient, experts) = (call.tape.plain, call.gradient, experts)
      let (weights, gammas) = (decider.weights, decider.gammas)
      let rescaled = slot.rescaled.rows(x.count, gradient.width)
      let products = slot.products.rows(x.count, gradient.width)
      pass.compute.forEachRow(x.count, width: 4 * gradient.width) { rows in
        for row in rows {
          experts.withFactors(0..<gradient.width, weights, row) { factors in
            for column in 0..<gradient.width {
              rescaled[row, column] = gradient[row, column] * factors[column]
              products[row, column] = gradient[row, column] * plain[row, column]
            }
          }
          for slot in experts.slots {
            guard let rescaling = slot.rescaling else { continue }
            // In double precision: large terms of both signs leave little.
            let factors = rescaling.mutableRows
            var sum = 0.0
            for column in 0..<gradient.width {
              sum += Double(gradient[row, column]) * Double(plain[row, column]) * Double(factors[0, column])
            }
            gammas[row, slot.expert] += Float(sum)
          }
        }
      }
      guard let trained = experts.trained else { return }
      for (index, parameter) in trained.magnitudes.sorted(by: { $0.key < $1.key }) {
        guard let norms = trained.norms[index] else { continue }
        let expert = experts.slots[index].expert
        let (gradient, norm) = (parameter.gradient, norms.mutableRows)
        pass.compute.pool.run(items: (gradient.width + 63) / 64) { item, _ in
          for column in item * 64..<min(item * 64 + 64, gradient.width) {
            var sum = 0.0
            for row in 0..<products.count { sum += Double(weights[row, expert] * products[row, column]) }
            gradient[0, column] += Float(sum) / norm[0, column]
          }
        }
      }
    }

    /// D, or with magnitudes D ⊙ (1 + Σ g·(c − 1)).
    func baseGradient(_ pass: TrainingPass) -> Rows {
      experts.rescales ? slot.rescaled.rows(x.count, call.gradient.width) : call.gradient
    }

    /// dĀ, dB̄, and what flows back through dropped elements.
    func products(_ pass: TrainingPass, passesOn: Bool) -> [Compute.Product] {
      var products: [Compute.Product] = []
      if let trained = experts.trained {
        let input = pass.dropout > 0 ? slot.dropped.rows(x.count, x.width) : x
        if pass.dropout > 0 { call.tape.redrop(x, into: input, pass) }
        products.append(
          Compute.Product(
            terms: [.plain(qTransposed, input)], output: trained.a.gradient, accumulates: true))
        if trained.magnitudes.isEmpty {
          products.append(
            Compute.Product(
              terms: [.plain(scaledTransposed, call.gradient)], output: trained.b.gradient,
              accumulates: true))
        } else {
          products.append(
            Compute.Product(
              terms: [.plain(scaledTransposed, call.gradient)],
              output: slot.magnitudeScores.rows(trained.ranks, call.gradient.width)))
        }
      }
      if passesOn, pass.dropout > 0 {
        products.append(
          Compute.Product(
            terms: [.plain(q, experts.down)], output: slot.droppedGradient.rows(x.count, x.width)))
      }
      return products
    }

    /// What is left when the products are there.
    func finish(_ dx: Rows?, _ pass: TrainingPass) {
      if let dx, pass.dropout > 0 {
        call.tape.undrop(slot.droppedGradient.rows(x.count, x.width), into: dx, pass)
      }
      guard let trained = experts.trained, !trained.magnitudes.isEmpty else { return }
      // What is there is the gradient of c ⊙ B.
      let made = slot.magnitudeScores.rows(trained.ranks, call.gradient.width)
      for (index, expert) in experts.slots.enumerated() where expert.ranks.upperBound <= trained.ranks {
        for rank in expert.ranks {
          for column in 0..<made.width {
            let c = 1 + (expert.rescaling.map { $0.mutableRows[0, column] } ?? 0)
            trained.b.gradient[rank, column] += made[rank, column] * c
            guard let magnitude = trained.magnitudes[index], let norms = trained.norms[index] else {
              continue
            }
            magnitude.gradient[0, column] +=
              made[rank, column] * trained.b.values[rank, column] / norms.mutableRows[0, column]
          }
        }
      }
    }
  }

  func redrop(_ x: Rows, into out: Rows, _ pass: TrainingPass) {
    let (key, share, first) = (maskKey(pass), pass.dropout, pass.firstRow)
    pass.compute.forEachRow(x.count, width: x.width) { rows in
      for row in rows {
        unsafe lmoe_dropout(
          x.row(row), x.width, key, UInt64((first + row) * x.width), share, out.row(row))
      }
    }
  }

  func undrop(_ gradient: Rows, into dx: Rows, _ pass: TrainingPass) {
    let (key, share, first) = (maskKey(pass), pass.dropout, pass.firstRow)
    pass.compute.forEachRow(dx.count, width: dx.width) { rows in
      for row in rows {
        unsafe lmoe_dropout_backward(
          gradient.row(row), dx.width, key, UInt64((first + row) * dx.width), share, dx.row(row))
      }
    }
  }
}
