private import CLMoEKernels
import LMoECore

/// Grouped-query attention with rotary positions: softmax(q·kᵀ / √d)·v over what a token sees.
///
/// Query head h reads key and value head ⌊h · keyValueHeads / heads⌋. Position i sees j with i − window < j ≤ i.
struct Attention: Sendable {
  /// heads·d × hidden.
  let query: Linear
  /// keyValueHeads·d × hidden.
  let key: Linear
  /// keyValueHeads·d × hidden.
  let value: Linear
  /// hidden × heads·d.
  let output: Linear
  /// Normalise queries and keys over the head, before they turn.
  var queryNorm: RMSNorm?
  var keyNorm: RMSNorm?
  /// How far a token looks back, itself included; nil for all of it.
  let window: Int?
  /// d.
  let headDimension: Int
  /// Which layer's keys and values these are.
  let layer: Int

  private var heads: Int { query.outputs / headDimension }
  private var keyValueHeads: Int { key.outputs / headDimension }

  /// Adds the result for input `x` [T, hidden] to `residual` [T, hidden].
  func forward(_ x: Rows, addingTo residual: Rows, in pass: Pass) {
    let q = pass.workspace.queries.rows(x.count, query.outputs)
    let k = pass.workspace.keys.rows(x.count, key.outputs)
    let v = pass.workspace.values.rows(x.count, value.outputs)
    Linear.forward(
      [
        Linear.Call(linear: query, output: q), Linear.Call(linear: key, output: k),
        Linear.Call(linear: value, output: v),
      ], x, in: pass)
    let scale = 1 / Float(headDimension).squareRoot()
    pass.forEachRow(x.count, width: q.width) { rows in
      let (q, k) = (q[rows], k[rows])
      queryNorm?.forwardHeads(q)
      keyNorm?.forwardHeads(k)
      pass.rotary.rotate(q, by: pass.angles[rows])
      pass.rotary.rotate(k, by: pass.angles[rows])
      unsafe lmoe_scale(q.base, scale, q.count * q.width, q.base)
      // A run of rows at a time: workers that count one cache's references wait for each other.
      for piece in pass.pieces where piece.overlaps(rows) {
        let own = rows.clamped(to: piece)
        let place = pass.places[own.lowerBound]
        place.cache.write(
          layer: layer, from: place.position,
          keys: k[own.lowerBound - rows.lowerBound..<own.upperBound - rows.lowerBound], values: v[own])
      }
    }
    let mixed = pass.workspace.mixed.rows(x.count, q.width)
    pass.compute.timed(.attention) { attend(q, into: mixed, pass) }
    Linear.forward([Linear.Call(linear: output, output: residual, accumulates: true)], mixed, in: pass)
  }

  /// Texts of more rows than this go through in blocks, and their keys and values are laid out for that.
  private static let fewRows = 8

  private func attend(_ q: Rows, into output: Rows, _ pass: Pass) {
    attendInBlocks(q, into: output, pass, pass.pieces.filter { $0.count > Self.fewRows })
    attendAtOnce(q, into: output, pass, pass.pieces.filter { $0.count <= Self.fewRows })
  }

  private func attendInBlocks(_ q: Rows, into output: Rows, _ pass: Pass, _ pieces: [Range<Int>]) {
    guard !pieces.isEmpty else { return }
    let blocks = pieces.flatMap { piece in
      AttentionBlock.blocks(of: piece).flatMap { rows in
        (0..<heads).map { head in block(q, output, rows, head: head, pass.places[rows.lowerBound]) }
      }
    }
    let scratch = pass.workspace.scores.rows(pass.compute.pool.count, AttentionBlock.scratch(headDimension))
    pass.compute.pool.run(items: blocks.count) { item, worker in
      blocks[item].run(scratch[worker..<worker + 1])
    }
  }

  private func block(
    _ q: Rows, _ output: Rows, _ rows: Range<Int>, head: Int, _ first: Pass.Place
  ) -> AttentionBlock {
    let columns = head * headDimension..<(head + 1) * headDimension
    let (keyHead, seen) = (head * keyValueHeads / heads, 0..<first.position + rows.count)
    return AttentionBlock(
      queries: q[rows].columns(columns), output: output[rows].columns(columns),
      keys: first.cache.keys(layer: layer, head: keyHead, seen),
      values: first.cache.values(layer: layer, head: keyHead, seen), position: first.position, window: window)
  }

  /// Some query rows of one text, and some of the query heads of one key head.
  private struct Task: Sendable {
    /// The queries, as rows of one head each.
    let queries: Rows
    /// Where their results go.
    let output: Rows
    /// The position of the first query.
    let position: Int
    /// How many positions further each next row is: 0 for heads of one token.
    let step: Int
    /// The first position that is looked at, and how many there are.
    let start: Int
    let count: Int
    /// The keys and values of those.
    let keys: Weight.View
    let values: Weight.View
  }

  private func attendAtOnce(_ q: Rows, into output: Rows, _ pass: Pass, _ pieces: [Range<Int>]) {
    guard !pieces.isEmpty else { return }
    let group = heads / keyValueHeads
    // One query row of few heads gives too few tasks for the workers: then each head is one.
    let workers = pass.compute.pool.count
    let isSmall = pieces.count * keyValueHeads < 4 * workers && keyValueHeads % workers != 0
    var tasks: [Task] = []
    var largest = 0
    for rows in pieces {
      let step = rows.count == 1 && !isSmall ? group : 1
      for head in stride(from: 0, to: heads, by: step) {
        let task = task(q, output, rows, heads: head..<head + step, pass.places[rows.lowerBound])
        largest = max(largest, task.queries.count * task.count)
        tasks.append(task)
      }
    }
    let scores = pass.workspace.scores.rows(workers, largest)
    let (work, compute, window) = (tasks, pass.compute, window)
    compute.pool.run(items: work.count) { item, worker in
      Self.attend(work[item], window, scores[worker..<worker + 1], compute, worker)
    }
  }

  private func task(
    _ q: Rows, _ output: Rows, _ rows: Range<Int>, heads range: Range<Int>, _ first: Pass.Place
  ) -> Task {
    let end = first.position + rows.count
    let start = window.map { max(0, first.position - $0 + 1) } ?? 0
    let keyHead = range.lowerBound * keyValueHeads / heads
    // One row of several heads is as many rows of one head.
    func view(_ all: Rows) -> Rows {
      unsafe Rows(
        base: all.row(rows.lowerBound) + range.lowerBound * headDimension, count: rows.count * range.count,
        width: headDimension, stride: range.count > 1 ? headDimension : all.stride)
    }
    return Task(
      queries: view(q), output: view(output), position: first.position, step: range.count > 1 ? 0 : 1,
      start: start, count: end - start, keys: first.cache.keys(layer: layer, head: keyHead, start..<end),
      values: first.cache.values(layer: layer, head: keyHead, start..<end))
  }

  private static func attend(
    _ task: Task, _ window: Int?, _ scratch: Rows, _ compute: Compute, _ worker: Int
  ) {
    let scores = unsafe Rows(base: scratch.base, count: task.queries.count, width: task.count)
    compute.compute(.linear(task.queries, task.keys), into: scores, worker)
    for index in 0..<scores.count {
      let position = task.position + index * task.step
      let low = (window.map { max(0, position - $0 + 1) } ?? 0) - task.start
      let high = position + 1 - task.start
      let row = unsafe scores.row(index)
      _ = unsafe lmoe_softmax(row + low, high - low)
      unsafe row.update(repeating: 0, count: low)
      unsafe (row + high).update(repeating: 0, count: scores.width - high)
    }
    compute.compute(.plain(scores, task.values), into: task.output, worker)
  }
}
