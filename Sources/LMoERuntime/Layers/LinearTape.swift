import LMoECore

/// A linear layer and its experts in training: what the way back needs of the way forward.
///
/// For T rows and R stacked ranks it keeps U = x·Āᵀ [T, R], or of experts that few rows have U of those rows alone, and
/// W₀x [T, outputs] where magnitudes need it.
final class LinearTape {
  let linear: Linear
  /// Its own gate, where each module has one.
  let gate: GateTape?
  /// Its number in the model, which makes its dropout masks its own.
  let number: Int
  private(set) var u: Rows
  private(set) var plain: Rows
  /// The experts by their rows, where few rows have them.
  private(set) var sparse: SparseExperts?
  private let memory: [Activations]

  init(_ linear: Linear, gate: GateTape?, number: Int, memory: TapeMemory) {
    self.memory = [memory.next(), memory.next()]
    (self.linear, self.gate, self.number) = (linear, gate, number)
    (u, plain) = (self.memory[0].rows(0, 1), self.memory[1].rows(0, 1))
  }

  /// What is trained of it.
  var parameters: [Parameter] { (linear.experts?.trained?.parameters ?? []) + (gate?.parameters ?? []) }
  /// Whether anything is.
  var isTrained: Bool { linear.experts?.trained != nil || gate?.isTrained == true }
  /// Floats that a row keeps for the way back.
  var keptFloats: Int {
    linear.experts.map { $0.ranks + ($0.rescales ? linear.outputs : 0) } ?? 0
  }

  func decider(_ pass: TrainingPass) -> GateTape? { gate ?? pass.gate }

  /// The experts by their rows, if that pays.
  ///
  /// A gate that does not choose may have a gradient where a weight is 0.
  private func sparse(_ experts: LinearExperts, _ pass: TrainingPass) -> SparseExperts? {
    guard let decider = decider(pass), decider.gate.normaliser.choosesSome else { return nil }
    return SparseExperts(experts, weights: decider.weights, having: { decider.expertRows })
  }

  // MARK: Forward

  /// A layer, and where its output goes.
  struct Call {
    let tape: LinearTape
    /// [T, outputs].
    let output: Rows
    /// Whether the output is added to what is there.
    var accumulates = false
  }

  /// Computes layers of one input x [T, inputs]: y = x·W₀ᵀ + b + (U ⊙ Ĝ)·B̄, where Ĝ is g·s of a rank's expert.
  static func forward(_ calls: [Call], _ x: Rows, in pass: TrainingPass) {
    var down: [Compute.Product] = []
    for (call, slot) in zip(calls, pass.workspace.slots) {
      guard let experts = call.tape.linear.experts else { continue }
      call.tape.gate?.forward(x, in: pass)
      let input = call.tape.dropped(x, slot, pass)
      call.tape.sparse = call.tape.sparse(experts, pass)
      if let sparse = call.tape.sparse {
        call.tape.u = call.tape.memory[0].rows(sparse.pairs, sparse.rank)
        let scaled = slot.scaled.rows(sparse.pairs, sparse.rank)
        pass.compute.timed(.products) {
          sparse.forward(input, into: call.tape.u, scaled: scaled, pass.compute, pass.workspace)
        }
        continue
      }
      call.tape.u = call.tape.memory[0].rows(x.count, experts.ranks)
      down.append(Compute.Product(terms: [.linear(input, experts.down)], output: call.tape.u))
    }
    pass.compute.run(down)
    var products: [Compute.Product] = []
    for (call, slot) in zip(calls, pass.workspace.slots) {
      products.append(call.tape.product(call, x, slot, pass))
    }
    pass.compute.run(products)
    for (call, slot) in zip(calls, pass.workspace.slots) {
      guard let sparse = call.tape.sparse else { continue }
      let scaled = slot.scaled.rows(sparse.pairs, sparse.rank)
      pass.compute.timed(.products) {
        sparse.add(scaled, to: call.output, pass.compute, pass.workspace)
      }
    }
  }

  /// The input of the experts: x, or x with elements dropped.
  private func dropped(_ x: Rows, _ slot: TrainingWorkspace.Slot, _ pass: TrainingPass) -> Rows {
    guard pass.dropout > 0 else { return x }
    let out = slot.dropped.rows(x.count, x.width)
    redrop(x, into: out, pass)
    return out
  }

  func maskKey(_ pass: TrainingPass) -> UInt64 {
    pass.dropoutKey ^ (UInt64(number + 1) &* 0x9E37_79B9_7F4A_7C15)
  }

  private func product(
    _ call: Call, _ x: Rows, _ slot: TrainingWorkspace.Slot, _ pass: TrainingPass
  ) -> Compute.Product {
    let (linear, output, accumulates) = (linear, call.output, call.accumulates)
    let base = Compute.Term.linear(x, linear.weight)
    guard let experts = linear.experts, let decider = decider(pass), sparse == nil else {
      var product = Compute.Product(terms: [base], output: output, accumulates: accumulates)
      if linear.bias != nil { product.finish = { columns, _ in linear.addBias(output, columns) } }
      return product
    }
    let (u, weights) = (u, decider.weights)
    let scaled = slot.scaled.rows(x.count, u.width)
    pass.compute.forEachRow(x.count, width: u.width) { rows in
      experts.scale(u[rows], by: weights[rows], into: scaled[rows])
    }
    guard experts.rescales else {
      var product = Compute.Product(
        terms: [base, .plain(scaled, experts.up)], output: output, accumulates: accumulates)
      if linear.bias != nil { product.finish = { columns, _ in linear.addBias(output, columns) } }
      return product
    }
    plain = memory[1].rows(x.count, linear.outputs)
    let (plain, compute) = (plain, pass.compute)
    return Compute.Product(terms: [base], output: plain) { columns, worker in
      let part = output.columns(columns)
      if !accumulates { part.clear() }
      for row in 0..<plain.count {
        experts.withFactors(columns, weights, row) { factors in
          for (index, column) in columns.enumerated() {
            output[row, column] += plain[row, column] * factors[index]
          }
        }
      }
      compute.compute(
        Compute.Product(terms: [.plain(scaled, experts.up)], output: output, accumulates: true), columns,
        worker)
      linear.addBias(output, columns)
    }
  }
}
