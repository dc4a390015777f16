private import CLMoEKernels
import LMoECore

/// Attention in training: queries, keys and values of T rows, and what the way back needs besides.
///
/// There is no cache: a document's rows see only each other. The scores of a block are computed again on the way
/// back, from log Σ exp of each row and head; T × T of them never exist.
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
  /// log Σ exp of the scores [heads, T].
  private var logSums: Rows
  private let memory: [Activations]

  init(_ attention: Attention, tapes: [LinearTape], memory: TapeMemory) {
    self.attention = attention
    (query, key, value, output) = (tapes[0], tapes[1], tapes[2], tapes[3])
    self.memory = (0..<7).map { _ in memory.next() }
    let none = self.memory[0].rows(0, 1)
    (queries, keys, values, rawQueries, rawKeys, mixed, logSums) = (none, none, none, none, none, none, none)
  }

  /// Its linear layers.
  var linears: [LinearTape] { [query, key, value, output] }

  private var d: Int { attention.headDimension }
  private var heads: Int { attention.query.outputs / d }
  private var keyValueHeads: Int { attention.key.outputs / d }
  private var scale: Float { 1 / Float(d).squareRoot() }
  /// Rows of queries, and of keys on the way back, that are taken together.
  private static let block = 64

  // MARK: Forward

  /// Adds the result for input `x` [T, hidden] to `residual` [T, hidden].
  func forward(_ x: Rows, addingTo residual: Rows, in pass: TrainingPass) {
    let count = x.count
    queries = memory[0].rows(count, heads * d)
    keys = memory[1].rows(count, keyValueHeads * d)
    values = memory[2].rows(count, keyValueHeads * d)
    mixed = memory[3].rows(count, heads * d)
    logSums = memory[4].rows(heads, count)
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

  /// A document's rows and a head.
  private struct Task: Sendable {
    let document: Range<Int>
    /// Of queries, or of keys and values.
    let head: Int
  }

  private func tasks(_ pass: TrainingPass, heads: Int) -> [Task] {
    // The longest first, so that no worker is left with one at the end.
    pass.documents.sorted { ($1.count, $0.lowerBound) < ($0.count, $1.lowerBound) }.flatMap { document in
      (0..<heads).map { Task(document: document, head: $0) }
    }
  }

  private func attend(_ pass: TrainingPass) {
    let work = tasks(pass, heads: heads)
    let longest = pass.documents.map(\.count).max() ?? 0
    let scratch = pass.workspace.scores.rows(pass.compute.pool.count, Self.block * longest)
    let (compute, window, group, d) = (pass.compute, attention.window, heads / keyValueHeads, d)
    let (queries, keys, values, mixed, logSums) = (queries, keys, values, mixed, logSums)
    compute.pool.run(items: work.count) { item, worker in
      let task = work[item]
      let columns = task.head * d..<(task.head + 1) * d
      let shared = task.head / group * d..<(task.head / group + 1) * d
      let document = task.document
      for start in stride(from: document.lowerBound, to: document.upperBound, by: Self.block) {
        let rows = start..<min(start + Self.block, document.upperBound)
        let low = window.map { max(document.lowerBound, start - $0 + 1) } ?? document.lowerBound
        let seen = low..<rows.upperBound
        let scores = unsafe Rows(base: scratch.row(worker), count: rows.count, width: seen.count)
        compute.compute(
          .linear(queries[rows].columns(columns), keys[seen].columns(shared)), into: scores, worker)
        for (index, row) in rows.enumerated() {
          let first = (window.map { max(low, row - $0 + 1) } ?? low) - low
          let end = row + 1 - low
          let values = unsafe scores.row(index)
          logSums[task.head, row] = unsafe lmoe_softmax(values + first, end - first)
          unsafe values.update(repeating: 0, count: first)
          unsafe (values + end).update(repeating: 0, count: scores.width - end)
        }
        compute.compute(
          .plain(scores, values[seen].columns(shared)), into: mixed[rows].columns(columns), worker)
      }
    }
  }

  // MARK: Backward

  /// Gradients of all before the output layer, given that of what it took in.
  ///
  /// With P = softmax(q·kᵀ), δ of a row = ⟨d mixed, mixed⟩ and dP = d mixed·vᵀ: dS = P ⊙ (dP − δ), dv = Pᵀ·d mixed,
  /// dk = dSᵀ·q, dq = dS·k. Blocks of keys are taken with all queries that see them, so P is met transposed.
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
      dq[rows].clear()
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
    let work = tasks(pass, heads: keyValueHeads)
    let longest = pass.documents.map(\.count).max() ?? 0
    let scratch = pass.workspace.scores.rows(pass.compute.pool.count, 3 * Self.block * longest)
    let (compute, window, group, d) = (pass.compute, attention.window, heads / keyValueHeads, d)
    let (queries, keys, values, logSums) = (queries, keys, values, logSums)
    compute.pool.run(items: work.count) { item, worker in
      let task = work[item]
      let shared = task.head * d..<(task.head + 1) * d
      let document = task.document
      for start in stride(from: document.lowerBound, to: document.upperBound, by: Self.block) {
        let block = start..<min(start + Self.block, document.upperBound)
        // Queries that see some key of the block.
        let end = window.map { min(document.upperBound, block.upperBound + $0 - 1) } ?? document.upperBound
        let rows = block.lowerBound..<end
        let (k, v) = (keys[block].columns(shared), values[block].columns(shared))
        let (dk, dv) = (dk[block].columns(shared), dv[block].columns(shared))
        let size = block.count * rows.count
        let base = unsafe scratch.row(worker)
        let p = unsafe Rows(base: base, count: block.count, width: rows.count)
        let ds = unsafe Rows(base: base + size, count: block.count, width: rows.count)
        let turned = unsafe Rows(base: base + 2 * size, count: rows.count, width: block.count)
        for head in task.head * group..<(task.head + 1) * group {
          let columns = head * d..<(head + 1) * d
          let (q, dm) = (queries[rows].columns(columns), mixedGradient[rows].columns(columns))
          compute.compute(.linear(k, q), into: p, worker)
          compute.compute(.linear(v, dm), into: ds, worker)
          for (index, key) in block.enumerated() {
            // Keys come before the queries that see them, and within the window.
            let first = key - rows.lowerBound
            let last = min(rows.count, window.map { first + $0 } ?? rows.count)
            let (px, dx) = unsafe (p.row(index), ds.row(index))
            let place = rows.lowerBound + first
            unsafe px.update(repeating: 0, count: first)
            unsafe (px + last).update(repeating: 0, count: rows.count - last)
            unsafe lmoe_exp_minus(px + first, logSums.row(head) + place, last - first)
            unsafe lmoe_softmax_backward(px, dx, deltas.row(head) + rows.lowerBound, rows.count)
          }
          unsafe lmoe_transpose_strided(ds.base, ds.count, ds.width, ds.stride, turned.base, turned.stride)
          let accumulates = head > task.head * group
          compute.compute(.plain(p, dm), into: dv, accumulates: accumulates, worker)
          compute.compute(.plain(ds, q), into: dk, accumulates: accumulates, worker)
          compute.compute(.plain(turned, k), into: dq[rows].columns(columns), accumulates: true, worker)
        }
      }
    }
  }
}
