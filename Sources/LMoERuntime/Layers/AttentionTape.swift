private import CLMoEKernels
import LMoECore

/// Attention in training: queries, keys and values of T rows, and what the way back needs besides.
///
/// There is no cache: a document's rows see only each other. The scores of a block are computed again on the way
/// back, from the largest of each row and head and the sum; T × T of them never exist.
final class AttentionTape {
  let attention: Attention
  let query: LinearTape
  let key: LinearTape
  let value: LinearTape
  let output: LinearTape
  /// Turned, and queries divided by √d [T, heads · d]; values as they are.
  private var queries: Rows
  private var keys: Rows
  private var values: Rows
  /// What was normalised per head, for families that do.
  private var rawQueries: Rows
  private var rawKeys: Rows
  /// softmax(q·kᵀ)·v [T, heads · d].
  private(set) var mixed: Rows
  /// The largest of each row's scores, and one over the sum of exponentials less that [2 · heads, T].
  private var sums: Rows
  private let memory: [Activations]

  init(_ attention: Attention, tapes: [LinearTape], memory: TapeMemory) {
    self.attention = attention
    (query, key, value, output) = (tapes[0], tapes[1], tapes[2], tapes[3])
    self.memory = (0..<7).map { _ in memory.next() }
    let none = self.memory[0].rows(0, 1)
    (queries, keys, values, rawQueries, rawKeys, mixed, sums) = (none, none, none, none, none, none, none)
  }

  /// Its linear layers.
  var linears: [LinearTape] { [query, key, value, output] }

  /// Floats that a row keeps for the way back.
  var keptFloats: Int {
    let isNormed = attention.queryNorm != nil || attention.keyNorm != nil
    return (heads + keyValueHeads) * d * (isNormed ? 3 : 2) + 2 * heads
  }

  private var d: Int { attention.headDimension }
  private var heads: Int { attention.query.outputs / d }
  private var keyValueHeads: Int { attention.key.outputs / d }
  private var scale: Float { 1 / Float(d).squareRoot() }

  // MARK: Forward

  /// Adds the result for input `x` [T, hidden] to `residual` [T, hidden].
  func forward(_ x: Rows, addingTo residual: Rows, in pass: TrainingPass) {
    let count = x.count
    queries = memory[0].rows(count, heads * d)
    keys = memory[1].rows(count, keyValueHeads * d)
    values = memory[2].rows(count, keyValueHeads * d)
    mixed = memory[3].rows(count, heads * d)
    sums = memory[4].rows(2 * heads, count)
    let isNormed = attention.queryNorm != nil || attention.keyNorm != nil
    rawQueries = isNormed ? memory[5].rows(count, heads * d) : queries
    rawKeys = isNormed ? memory[6].rows(count, keyValueHeads * d) : keys
    LinearTape.forward(
      [
        LinearTape.Call(tape: query, output: rawQueries), LinearTape.Call(tape: key, output: rawKeys),
        LinearTape.Call(tape: value, output: values),
      ], x, in: pass)
    let (attention, rotary, angles) = (attention, pass.rotary, pass.angles)
    let (queries, keys, rawQueries, rawKeys, scale) = (queries, keys, rawQueries, rawKeys, scale)
    pass.compute.forEachRow(count, width: queries.width) { rows in
      let (q, k) = (queries[rows], keys[rows])
      if isNormed {
        for (from, to) in [(rawQueries[rows], q), (rawKeys[rows], k)] {
          for row in 0..<from.count { unsafe to.row(row).update(from: from.row(row), count: from.width) }
        }
        attention.queryNorm?.forwardHeads(q)
        attention.keyNorm?.forwardHeads(k)
      }
      rotary.rotate(q, by: angles[rows])
      rotary.rotate(k, by: angles[rows])
      unsafe lmoe_scale(q.base, scale, q.count * q.width, q.base)
    }
    pass.compute.timed(.attention) { attend(pass) }
    LinearTape.forward(
      [LinearTape.Call(tape: output, output: residual, accumulates: true)], mixed, in: pass)
  }

  private func attend(_ pass: TrainingPass) {
    let blocks = pass.documentsLongestFirst.flatMap { document in
      AttentionBlock.blocks(of: document).flatMap { rows in
        (0..<heads).map { head in block(rows, of: document, head: head) }
      }
    }
    let scratch = pass.workspace.scores.rows(pass.compute.pool.count, AttentionBlock.scratch(d))
    pass.compute.pool.run(items: blocks.count) { item, worker in
      blocks[item].run(scratch[worker..<worker + 1])
    }
  }

  private func block(_ rows: Range<Int>, of document: Range<Int>, head: Int) -> AttentionBlock {
    let keyHead = head * keyValueHeads / heads
    let (columns, shared) = (head * d..<(head + 1) * d, keyHead * d..<(keyHead + 1) * d)
    return AttentionBlock(
      queries: queries[rows].columns(columns), output: mixed[rows].columns(columns),
      keys: Weight.View(keys[document].columns(shared)),
      values: Weight.View(values[document].columns(shared)), position: rows.lowerBound - document.lowerBound,
      window: attention.window, sums: sums[2 * head..<2 * head + 2].columns(rows))
  }

  // MARK: Backward

  /// Gradients of all before the output layer, given that of what it took in.
  ///
  /// With P = softmax(q·kᵀ), δ of a row = ⟨d mixed, mixed⟩ and dP = d mixed·vᵀ: dS = P ⊙ (dP − δ), dv = Pᵀ·d mixed,
  /// dk = dSᵀ·q, dq = dS·k.
  ///
  /// - Parameters:
  ///   - x: The input [T, hidden].
  ///   - mixedGradient: d mixed [T, heads · d].
  ///   - dx: Where the gradient of the input goes [T, hidden]; nil if nobody needs it.
  ///   - layerGate: The layer's gate.
  func backward(
    _ x: Rows, _ mixedGradient: Rows, into dx: Rows?, layerGate: GateTape?, in pass: TrainingPass
  ) {
    let count = x.count
    let dq = pass.workspace.queryGradient.rows(count, queries.width)
    let dk = pass.workspace.keyGradient.rows(count, keys.width)
    let dv = pass.workspace.valueGradient.rows(count, values.width)
    let deltas = pass.workspace.deltas.rows(heads, count)
    let (mixed, d, heads) = (mixed, d, heads)
    pass.compute.forEachRow(count, width: mixed.width) { rows in
      for row in rows {
        for head in 0..<heads {
          deltas[head, row] = unsafe lmoe_dot(mixedGradient.row(row) + head * d, mixed.row(row) + head * d, d)
        }
      }
    }
    pass.compute.timed(.attention) { unattend(mixedGradient, deltas, dq, dk, dv, pass) }
    let (attention, rotary, angles, scale) = (attention, pass.rotary, pass.angles, scale)
    let (rawQueries, rawKeys) = (rawQueries, rawKeys)
    pass.compute.forEachRow(count, width: dq.width) { rows in
      let (q, k) = (dq[rows], dk[rows])
      unsafe lmoe_scale(q.base, scale, q.count * q.width, q.base)
      rotary.rotateBack(q, by: angles[rows])
      rotary.rotateBack(k, by: angles[rows])
      attention.queryNorm?.backwardHeads(rawQueries[rows], q)
      attention.keyNorm?.backwardHeads(rawKeys[rows], k)
    }
    LinearTape.backward(
      [
        LinearTape.BackwardCall(tape: query, gradient: dq), LinearTape.BackwardCall(tape: key, gradient: dk),
        LinearTape.BackwardCall(tape: value, gradient: dv),
      ], x, into: dx, layerGate: layerGate, in: pass)
  }

  private func unattend(
    _ mixedGradient: Rows, _ deltas: Rows, _ dq: Rows, _ dk: Rows, _ dv: Rows, _ pass: TrainingPass
  ) {
    let group = heads / keyValueHeads
    let work = pass.documentsLongestFirst.flatMap { document in
      (0..<keyValueHeads).map { head in
        let shared = head * d..<(head + 1) * d
        let heads = head * group..<(head + 1) * group
        let columns = heads.lowerBound * d..<heads.upperBound * d
        return AttentionGradient(
          queries: queries[document].columns(columns), gradients: mixedGradient[document].columns(columns),
          keys: keys[document].columns(shared), values: values[document].columns(shared),
          sums: sums[2 * heads.lowerBound..<2 * heads.upperBound].columns(document),
          deltas: deltas[heads].columns(document),
          queryGradients: dq[document].columns(columns), keyGradients: dk[document].columns(shared),
          valueGradients: dv[document].columns(shared), window: attention.window)
      }
    }
    let longest = pass.documentsLongestFirst.first?.count ?? 0
    let scratch = pass.workspace.scores.rows(pass.compute.pool.count, AttentionGradient.scratch(longest, d))
    pass.compute.pool.run(items: work.count) { item, worker in work[item].run(scratch[worker..<worker + 1]) }
  }
}
