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
  var stackedA: Weight { count == 1 ? self[0].a : Weight.joined(map(\.a)) ?? stackedFloatsA }

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
    if allSatisfy(\.isTransposed) { return count == 1 ? self[0].b : Weight.joined(map(\.b)) ?? stackedB([]) }
    guard let kind = Weight.commonKind(map(\.b)), !kind.isBlocks, !contains(where: \.isTransposed) else {
      return stackedB([])
    }
    let (ranks, outputs) = (reduce(0) { $0 + $1.rank }, self[0].outputs)
    let buffer = RawBuffer(count: kind.bytes(ranks * outputs))
    let base = unsafe buffer.bytes.baseAddress.unsafelyUnwrapped
    var first = 0
    for factors in self {
      let to = unsafe base + kind.bytes(first * outputs)
      switch kind {
      case .f32: unsafe lmoe_transpose_32(factors.b.base, outputs, factors.rank, to)
      default: unsafe lmoe_transpose_16(factors.b.base, outputs, factors.rank, to)
      }
      first += factors.rank
    }
    return unsafe Weight(base, kind: kind, rows: ranks, columns: outputs, owner: buffer)
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

extension Weight {
  /// The kind of all; nil if they differ.
  fileprivate static func commonKind(_ weights: [Weight]) -> Kind? {
    weights.allSatisfy { $0.kind == weights[0].kind } ? weights[0].kind : nil
  }

  /// All rows in one matrix; nil if weights differ in kind, or have blocks that know no rows.
  fileprivate static func joined(_ weights: [Weight]) -> Weight? {
    guard let kind = commonKind(weights), kind.hasRows else { return nil }
    let buffer = RawBuffer(count: weights.reduce(0) { $0 + $1.bytes })
    var offset = 0
    for weight in weights {
      unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[offset..<offset + weight.bytes])
        .copyMemory(from: UnsafeRawBufferPointer(start: weight.base, count: weight.bytes))
      offset += weight.bytes
    }
    return unsafe Weight(
      buffer.bytes.baseAddress.unsafelyUnwrapped, kind: kind, rows: weights.reduce(0) { $0 + $1.rows },
      columns: weights[0].columns, owner: buffer)
  }
}
