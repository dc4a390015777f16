private import CLMoEKernels
import LMoECore

/// The factors of all experts of one linear layer, stacked: Ā = [A₁; …; A_E] is R × inputs and, by ranks too,
/// B̄ = [B₁ … B_E]ᵀ is R × outputs, so that an expert is one contiguous run in both.
struct StackedExperts: Sendable {
  /// One expert's place.
  struct Slot: Sendable {
    /// The expert's column among the gate's weights.
    let expert: Int
    /// Its rows in Ā and B̄.
    let ranks: Range<Int>
    /// s, by which B·A is multiplied.
    let scaling: Float
    /// c − 1 for each output, if magnitudes rescale them (DoRA); B̄ has been multiplied with c then.
    let rescaling: Weight?
  }

  /// The experts that adapt this layer.
  let slots: [Slot]
  /// Ā: R × inputs.
  let down: Weight
  /// B̄: R × outputs.
  let up: Weight
  /// What is trained of them, where something is.
  var trained: TrainedFactors?

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

  /// The runs of Ā and B̄ that have a weight other than zero in any row.
  ///
  /// With few rows the rest need not be read; with many, every expert has some token.
  func activeRuns(_ weights: Rows) -> [Range<Int>] {
    guard weights.count <= 8 else { return [0..<down.rows] }
    var runs: [Range<Int>] = []
    for slot in slots where (0..<weights.count).contains(where: { weights[$0, slot.expert] != 0 }) {
      if let last = runs.last, last.upperBound == slot.ranks.lowerBound {
        runs[runs.count - 1] = last.lowerBound..<slot.ranks.upperBound
      } else {
        runs.append(slot.ranks)
      }
    }
    return runs
  }
}
