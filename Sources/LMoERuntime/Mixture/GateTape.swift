private import CLMoEKernels
import LMoECore

/// A gate at one place in training: what it decided on the way forward, and what is trained of it.
///
/// The score z of T rows comes of raw products with the gate's rows; only those are kept, besides the weights.
final class GateTape {
  /// The gate.
  let gate: GateInstance
  /// Its rows [routed, inputs], if they are trained.
  let rows: Parameter?
  /// Its biases or constants [1, routed], if they are trained.
  let terms: Parameter?
  /// Raw products [T, routed]; weights of the experts and their gradients [T, width].
  private(set) var raw: Rows
  private(set) var weights: Rows
  private(set) var gammas: Rows
  /// The gradient of the raw products [T, routed], and its transpose.
  private(set) var zeta: Rows
  private(set) var zetaTransposed: Rows
  /// What each row of the input gains of itself, for cosines.
  private(set) var corrections: Rows
  /// The rows that have each expert, once somebody has asked.
  private var rowsOfExperts: ExpertRows?
  /// Means over the rows: p, the share of the choices, and so on.
  var means = GateMeans()
  private let memory = (0..<6).map { _ in Activations() }

  /// - Parameter isTrained: Whether its parameters are trained, or only pass gradients on.
  init(_ gate: GateInstance, isTrained: Bool) {
    self.gate = gate
    rows = isTrained ? gate.rows.map { Parameter(gate.name + ".rows", .gate, $0) } : nil
    switch gate.score {
    case .constant, .linear:
      terms = isTrained ? gate.terms.map { Parameter(gate.name + ".terms", .gate, $0) } : nil
    case .dot, .absoluteDot, .cosine: terms = nil
    }
    let none = memory[0].rows(0, 1)
    (raw, weights, gammas, zeta, zetaTransposed, corrections) = (none, none, none, none, none, none)
  }

  /// What is trained.
  var parameters: [Parameter] { [rows, terms].compactMap(\.self) }
  /// Whether anything is.
  var isTrained: Bool { rows != nil || terms != nil }
  /// Whether its weights depend on what it looks at.
  var dependsOnInput: Bool { gate.rows != nil }

  /// The rows that have each expert.
  var expertRows: ExpertRows {
    if let rowsOfExperts { return rowsOfExperts }
    let rows = ExpertRows(weights)
    rowsOfExperts = rows
    return rows
  }

  /// Rows that are decided together.
  static let chunk = 128

  // MARK: Forward

  /// Weighs the experts for each row of `input` [T, inputs], and begins their gradients with zero.
  func forward(_ input: Rows, in pass: TrainingPass) {
    let stage = pass.compute.timer?.enter(.gates)
    defer { if let stage { pass.compute.timer?.leave(to: stage) } }
    rowsOfExperts = nil
    raw = memory[0].rows(input.count, max(1, gate.routed.count))
    weights = memory[1].rows(input.count, gate.width)
    gammas = memory[2].rows(input.count, gate.width)
    let chunks = (input.count + Self.chunk - 1) / Self.chunk
    let work = GateWork(gate, raw: raw, weights: weights, input: input, pass: pass)
    let parts = Guarded([GateMeans](repeating: GateMeans(), count: chunks))
    let (compute, raw, gammas, matrix) = (pass.compute, raw, gammas, gate.rows?.view)
    compute.pool.run(items: chunks) { chunk, worker in
      let range = chunk * Self.chunk..<min((chunk + 1) * Self.chunk, input.count)
      gammas[range].clear()
      if let matrix, raw.width > 0 {
        compute.compute(.linear(input[range], matrix), into: raw[range], worker)
      }
      let part = work.weigh(range)
      parts.withValue { $0[chunk] = part }
    }
    means = GateMeans(gate)
    parts.withValue { for part in $0 { means.add(part) } }
    if !pass.isAgain { pass.statistics.add(means.statistics(of: gate, pass.auxiliary)) }
  }

  // MARK: Backward

  /// Turns the gradients of the weights into those of the raw products, and adds those of the terms.
  ///
  /// - Returns: The product that adds the gradient of its rows, if they are trained.
  func backward(_ input: Rows, in pass: TrainingPass) -> [Compute.Product] {
    let stage = pass.compute.timer?.enter(.gates)
    defer { if let stage { pass.compute.timer?.leave(to: stage) } }
    let n = max(1, gate.routed.count)
    zeta = memory[3].rows(input.count, n)
    zetaTransposed = memory[4].rows(n, input.count)
    corrections = memory[5].rows(1, input.count)
    let chunks = (input.count + Self.chunk - 1) / Self.chunk
    let work = GateWork(gate, raw: raw, weights: weights, input: input, pass: pass)
    let (means, gammas, zeta, zetaTransposed, corrections) = (
      means, gammas, zeta, zetaTransposed, corrections
    )
    let sums = Guarded([[Double]](repeating: [], count: chunks))
    pass.compute.pool.run(items: chunks) { chunk, _ in
      let range = chunk * Self.chunk..<min((chunk + 1) * Self.chunk, input.count)
      let sum = work.unweigh(
        range, gammas, means, into: zeta, transposed: zetaTransposed, corrections: corrections)
      sums.withValue { $0[chunk] = sum }
    }
    guard isTrained else { return [] }
    let totals = sums.withValue { parts in
      parts.reduce(into: [Double](repeating: 0, count: n)) { totals, part in
        for index in part.indices { totals[index] += part[index] }
      }
    }
    if let terms {
      for (index, total) in totals.enumerated() { terms.gradient[0, index] += Float(total) }
    }
    guard let rows else { return [] }
    if gate.score == .cosine, let inverse = gate.terms {
      for (index, total) in totals.enumerated() {
        let norm = inverse.element(0, index)
        unsafe lmoe_add_scaled(
          rows.gradient.row(index), rows.values.row(index), -norm * norm * Float(total), rows.values.width)
      }
    }
    return [
      Compute.Product(terms: [.plain(zetaTransposed, input)], output: rows.gradient, accumulates: true)
    ]
  }

  /// What it adds to the gradient of its input: ζ·rows; nil if it looks at nothing.
  var inputTerm: Compute.Term? { gate.rows.map { .plain(zeta, $0) } }

  /// Adds what is not a product to the gradient of its input.
  func correct(_ gradient: Rows, _ input: Rows, in pass: TrainingPass) {
    guard gate.score == .cosine else { return }
    let corrections = corrections
    pass.compute.forEachRow(input.count, width: input.width) { range in
      for row in range {
        unsafe lmoe_add_scaled(gradient.row(row), input.row(row), corrections[0, row], input.width)
      }
    }
  }

  /// A tape of some rows, with what was decided for them.
  func gathered(_ rows: [Int]) -> GateTape {
    let part = GateTape(gate, isTrained: false)
    part.weights = part.memory[1].rows(rows.count, gate.width)
    part.gammas = part.memory[2].rows(rows.count, gate.width)
    part.gammas.clear()
    for (index, row) in rows.enumerated() {
      unsafe part.weights.row(index).update(from: weights.row(row), count: gate.width)
    }
    return part
  }

  /// Adds the gradients of the weights of some rows to those of all.
  func scatter(_ part: GateTape, _ rows: [Int]) {
    for (index, row) in rows.enumerated() {
      for column in 0..<gate.width { gammas[row, column] += part.gammas[index, column] }
    }
  }

  /// Brings up to date what follows from its rows.
  func refresh() {
    guard gate.score == .cosine, let rows, let inverse = gate.terms else { return }
    for row in 0..<rows.values.count {
      inverse.mutableRows[0, row] = GateInstance.inverseNorm(rows.values.array(row))
    }
  }
}
