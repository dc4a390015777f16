private import CLMoEKernels
import LMoECore

/// The two factors of an expert of one linear layer, as they are stored.
struct ExpertFactors: Sendable {
  /// A: rank × inputs.
  let a: Weight
  /// B: outputs × rank, or where it is quantized its transpose, for a rank is shorter than a block.
  let b: Weight
  let isTransposed: Bool

  /// r.
  var rank: Int { a.rows }
  /// Rows of B.
  var outputs: Int { isTransposed ? b.columns : b.rows }

  /// B as float32, row by row.
  var floatsOfB: [Float] {
    guard isTransposed else { return b.floats }
    var result = [Float](repeating: 0, count: b.count)
    let floats = b.floats
    unsafe floats.withUnsafeBufferPointer { from in
      unsafe result.withUnsafeMutableBufferPointer { to in
        guard let from = from.baseAddress, let to = to.baseAddress else { return }
        unsafe lmoe_transpose(from, rank, outputs, to)
      }
    }
    return result
  }
}

extension [ExpertFactors] {
  /// [A₁; …; A_E], in their own type if they share one.
  var stackedA: Weight { count == 1 ? self[0].a : planA?.made() ?? stackedFloatsA }

  /// How A is stacked in its own type; nil if there is nothing to stack, or the types differ.
  var planA: StackPlan? { count == 1 ? nil : StackPlan(joining: map(\.a)) }

  var stackedFloatsA: Weight {
    Weight.made(rows: reduce(0) { $0 + $1.rank }, columns: self[0].a.columns) { out in
      var row = 0
      for factors in self {
        for index in 0..<factors.rank { unsafe factors.a.copyRow(index, to: out.row(row + index)) }
        row += factors.rank
      }
    }
  }

  /// [B₁ … B_E]ᵀ, in their own type if they share one.
  var stackedB: Weight {
    if count == 1, self[0].isTransposed { return self[0].b }
    return planB?.made() ?? stackedB([])
  }

  /// How B is stacked in its own type; nil if there is nothing to stack, or the types differ.
  var planB: StackPlan? {
    if allSatisfy(\.isTransposed) { return count == 1 ? nil : StackPlan(joining: map(\.b)) }
    return contains(where: \.isTransposed) ? nil : StackPlan(transposing: map(\.b))
  }

  /// [B₁ … B_E]ᵀ as float32, those with magnitudes times c.
  func stackedB(_ slots: [StackedExperts.Slot]) -> Weight {
    Weight.made(rows: reduce(0) { $0 + $1.rank }, columns: self[0].outputs) { out in
      var first = 0
      for (index, factors) in enumerated() {
        let floats = factors.floatsOfB
        let rescaling = slots.isEmpty ? nil : slots[index].rescaling?.floats
        for row in 0..<factors.outputs {
          let c = 1 + (rescaling?[row] ?? 0)
          for rank in 0..<factors.rank { out[first + rank, row] = floats[row * factors.rank + rank] * c }
        }
        first += factors.rank
      }
    }
  }
}
