private import CLMoEKernels
import LMoECore
import LMoEExperts

/// A linear layer and its experts: y = W₀x + b + Σᵢ gᵢ·sᵢ·Bᵢ(Aᵢx).
///
/// A mixture of products: every expert's Bᵢ meets its own Aᵢ and nobody else's. With magnitudes (DoRA) an
/// expert gives gᵢ·[(cᵢ − 1) ⊙ W₀x + cᵢ ⊙ sᵢ·Bᵢ(Aᵢx)].
struct Linear: Sendable {
  /// Its name in the model (`model.layers.0.mlp.up_proj`).
  let name: String
  /// W₀: outputs × inputs.
  let weight: Weight
  /// b: outputs.
  let bias: Weight?
  /// The experts that adapt it.
  let experts: LinearExperts?
  /// Rows that take the place of the weight's own.
  let overlay: RowOverlay?
  /// Weighs the experts here, where each module has a gate of its own.
  let gate: GateInstance?

  /// Outputs.
  var outputs: Int { weight.rows }

  /// Where the output of a linear layer goes.
  struct Call: Sendable {
    let linear: Linear
    /// [T, outputs].
    let output: Rows
    /// Whether the output is added to what is there.
    var accumulates = false
  }

  /// Computes several linear layers of one input together.
  ///
  /// - Parameters:
  ///   - calls: The layers, and where their outputs go.
  ///   - x: Their input [T, inputs].
  ///   - pass: The step they are part of.
  static func forward(_ calls: [Call], _ x: Rows, in pass: Pass) {
    if let means = pass.means, means.scope == .module {
      for call in calls { means.add(x, at: call.linear.name) }
    }
    var weights: [Rows?] = []
    for (index, call) in calls.enumerated() {
      weights.append(
        call.linear.experts == nil ? nil : pass.weights(for: call.linear, input: x, place: index))
    }
    // U = x·Āᵀ, scaled by g·s: [T, R].
    var down: [Compute.Product] = []
    var scaled: [(linear: Linear, experts: LinearExperts, u: Rows, weights: Rows)] = []
    var up: [[Compute.Term]] = Array(repeating: [], count: calls.count)
    var sparse: [(call: Call, experts: SparseExperts)] = []
    var writings: [FactorMemory.Writing] = []
    for (index, call) in calls.enumerated() {
      guard let experts = call.linear.experts, let weights = weights[index] else { continue }
      let having = { pass.expertRows(of: call.linear, weights) }
      if pass.recorder?.deltas == nil, let few = SparseExperts(experts, weights: weights, having: having) {
        sparse.append((call, few))
        continue
      }
      let u = pass.workspace.ranks[index].rows(x.count, experts.ranks)
      if experts.areUsedInPlace(rows: x.count) {
        for slot in experts.active(weights) {
          let own = u.columns(slot.ranks)
          down.append(Compute.Product(terms: [.linear(x, slot.factors.a)], output: own))
          up[index].append(slot.factors.term(own))
        }
      } else {
        let stack = pass.workspace.factors[index].stack(experts, &writings)
        down.append(Compute.Product(terms: [.linear(x, stack.a)], output: u))
        up[index] = [.plain(u, stack.b)]
      }
      if !up[index].isEmpty { scaled.append((call.linear, experts, u, weights)) }
    }
    FactorMemory.Writing.run(writings, on: pass.compute.pool)
    pass.compute.run(down)
    if let deltas = pass.recorder?.deltas {
      for item in scaled { deltas.record(item.linear, item.experts, item.u, item.weights, x, pass.compute) }
    }
    for (_, experts, u, weights) in scaled {
      pass.forEachRow(u.count, width: u.width) { rows in
        experts.scale(u[rows], by: weights[rows], into: u[rows])
      }
    }
    pass.compute.run(
      calls.indices.map { index in
        product(calls[index], x, up[index], weights[index], index, pass)
      })
    for item in sparse { item.experts.add(x, to: item.call.output, pass.compute, pass.workspace) }
  }

  /// y = x·W₀ᵀ + U·B̄ + b, in one sum where nothing comes between.
  private static func product(
    _ call: Call, _ x: Rows, _ up: [Compute.Term], _ weights: Rows?, _ place: Int, _ pass: Pass
  ) -> Compute.Product {
    let linear = call.linear
    let base = Compute.Term.linear(x, linear.weight)
    guard linear.overlay != nil || linear.experts?.rescales == true else {
      var product = Compute.Product(
        terms: [base] + up, output: call.output, accumulates: call.accumulates)
      if linear.bias != nil { product.finish = { columns, _ in linear.addBias(call.output, columns) } }
      return product
    }
    // What the base computes is changed by itself before the experts' part is added.
    let output =
      call.accumulates ? pass.workspace.apart[place].rows(x.count, linear.outputs) : call.output
    return Compute.Product(terms: [base], output: output) { columns, worker in
      linear.overlay?.apply(x, to: output, columns: columns)
      if let experts = linear.experts, let weights, experts.rescales {
        experts.rescale(output, columns: columns, by: weights)
      }
      if !up.isEmpty {
        pass.compute.compute(
          Compute.Product(terms: up, output: output, accumulates: true), columns, worker)
      }
      linear.addBias(output, columns)
      guard call.accumulates else { return }
      for row in 0..<x.count {
        unsafe lmoe_add(
          call.output.row(row) + columns.lowerBound, output.row(row) + columns.lowerBound, columns.count)
      }
    }
  }

  func addBias(_ output: Rows, _ columns: Range<Int>) {
    guard let bias else { return }
    unsafe lmoe_add_bias(
      output.base + columns.lowerBound, output.stride, output.count, columns.count,
      bias.base + bias.kind.bytes(columns.lowerBound), bias.kind.code)
  }
}
