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

  /// Whether neither has blocks.
  var areFloats: Bool { !a.kind.isBlocks && !b.kind.isBlocks }

  /// The bytes of both.
  var bytes: Int { a.bytes + b.bytes }

  /// U·Bᵀ for U = x·Aᵀ [T, r].
  func term(_ u: Rows) -> Compute.Term { isTransposed ? .plain(u, b) : .linear(u, b) }

  /// Bᵀ: r × outputs.
  var transposedB: Weight { isTransposed ? b : [self].floatsB([]) }

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
  /// Ā = [A₁; …; A_E]: where they are, if they share a type, else as float32.
  var stackA: FactorStack {
    if count == 1 { return FactorStack(self[0].a) }
    return StackPlan(joining: map(\.a)).map(FactorStack.init) ?? FactorStack(floatsA)
  }

  /// B̄ = [B₁ … B_E]ᵀ: where they are, if they share a type, else as float32.
  var stackB: FactorStack {
    if count == 1, self[0].isTransposed { return FactorStack(self[0].b) }
    return planB.map(FactorStack.init) ?? FactorStack(floatsB([]))
  }

  private var planB: StackPlan? {
    if allSatisfy(\.isTransposed) { return StackPlan(joining: map(\.b)) }
    return contains(where: \.isTransposed) ? nil : StackPlan(transposing: map(\.b))
  }

  /// Ā as float32.
  var floatsA: Weight {
    Weight.made(rows: reduce(0) { $0 + $1.rank }, columns: self[0].a.columns) { out in
      var row = 0
      for factors in self {
        for index in 0..<factors.rank { unsafe factors.a.copyRow(index, to: out.row(row + index)) }
        row += factors.rank
      }
    }
  }

  /// B̄ as float32, each part of it times c where an expert has magnitudes: c − 1 by expert, or none of them.
  func floatsB(_ rescalings: [Weight?]) -> Weight {
    Weight.made(rows: reduce(0) { $0 + $1.rank }, columns: self[0].outputs) { out in
      var first = 0
      for (index, factors) in enumerated() {
        let floats = factors.floatsOfB
        let rescaling = rescalings.isEmpty ? nil : rescalings[index]?.floats
        for row in 0..<factors.outputs {
          let c = 1 + (rescaling?[row] ?? 0)
          for rank in 0..<factors.rank { out[first + rank, row] = floats[row * factors.rank + rank] * c }
        }
        first += factors.rank
      }
    }
  }
}
