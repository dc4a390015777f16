private import CLMoEKernels
import LMoECore

/// The experts of one linear layer.
struct LinearExperts: Sendable {
  /// One expert.
  struct Slot: Sendable {
    /// The expert's column among the gate's weights.
    let expert: Int
    /// Its ranks among those of all experts of the layer.
    let ranks: Range<Int>
    /// s, by which B·A is multiplied.
    let scaling: Float
    /// c − 1 for each output, if magnitudes rescale them (DoRA); B has been multiplied with c then.
    let rescaling: Weight?
    /// A and B, where they are stored or in the stacks.
    let factors: ExpertFactors
  }

  /// The experts that adapt this layer.
  let slots: [Slot]
  /// Ā: R × inputs.
  let a: FactorStack
  /// B̄: R × outputs.
  let b: FactorStack
  /// What is trained of them, where something is.
  var trained: TrainedFactors?

  /// R, the ranks of all experts together.
  var ranks: Int { a.rows }
  /// Ā in one piece: R × inputs.
  var down: Weight { a.whole }
  /// B̄ in one piece: R × outputs.
  var up: Weight { b.whole }

  /// Whether an expert rescales what the base computes.
  var rescales: Bool { slots.contains { $0.rescaling != nil } }

  /// Writes U ⊙ Ĝ for U = x·Āᵀ [T, R]: each column times g·s of the expert that it belongs to.
  ///
  /// - Parameters:
  ///   - u: Rows of U.
  ///   - weights: The gate's weights for these rows [T, experts].
  ///   - out: Where the products go [T, R]; may be U.
  func scale(_ u: Rows, by weights: Rows, into out: Rows) {
    for row in 0..<u.count {
      for slot in slots {
        unsafe lmoe_scale(
          u.row(row) + slot.ranks.lowerBound, weights[row, slot.expert] * slot.scaling, slot.ranks.count,
          out.row(row) + slot.ranks.lowerBound)
      }
    }
  }

  /// Multiplies columns of y = W₀x [T, outputs] with 1 + Σ gᵢ·(cᵢ − 1) over the experts that have magnitudes.
  func rescale(_ y: Rows, columns: Range<Int>, by weights: Rows) {
    for row in 0..<y.count {
      withFactors(columns, weights, row) { factors in
        let values = unsafe y.row(row)
        for (index, column) in columns.enumerated() { unsafe values[column] *= factors[index] }
      }
    }
  }

  /// Calls `body` with 1 + Σ gᵢ·(cᵢ − 1) for the outputs `columns` of one row.
  func withFactors(_ columns: Range<Int>, _ weights: Rows, _ row: Int, _ body: ([Float]) -> Void) {
    var factors = [Float](repeating: 1, count: columns.count)
    for slot in slots {
      guard let rescaling = slot.rescaling else { continue }
      let weight = weights[row, slot.expert]
      if weight == 0 { continue }
      let values = unsafe rescaling.mutableRows.row(0)
      for (index, column) in columns.enumerated() { unsafe factors[index] += weight * values[column] }
    }
    body(factors)
  }

  /// Rows that are few.
  ///
  /// Experts that have no weight in any of them need not be read; with many, every expert has some token.
  static let fewRows = 8
  /// Rows that are multiplied with weights as these are stored, if they are floats.
  private static let someRows = 32

  /// Whether experts are used where they are, for so many rows; they are gathered for more.
  func areUsedInPlace(rows: Int) -> Bool {
    rows <= Self.fewRows || rows <= Self.someRows && slots.allSatisfy { $0.factors.areFloats }
  }

  /// The experts that have a weight other than zero in any row.
  func active(_ weights: Rows) -> [Slot] {
    slots.filter { slot in (0..<weights.count).contains { weights[$0, slot.expert] != 0 } }
  }
}
