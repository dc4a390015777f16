private import CLMoEKernels
import LMoECore

extension LossHead {
  /// The columns of a block of `lmoe_exp_sums`: blocks are added up in one order, whoever computed them.
  private static let columns = 32
  /// A sum beyond this has lost its smaller terms, or is about to overflow.
  private static let largestSum = 1e30
  /// Rows and columns of logits that a worker has at a time, to stay in its caches with what is packed of the
  /// weights; and how few rows of a worker are too few for that.
  private static let (most, part, fewest) = (512, 320, 128)

  /// Whether logits are a product and nothing else.
  private var isPlain: Bool {
    head.linear.experts == nil && head.linear.bias == nil && head.linear.overlay == nil
  }

  /// Whether each worker takes rows of its own, so that there are never all logits of a row.
  ///
  /// That changes no bit.
  func takesRows(_ count: Int, _ pass: TrainingPass) -> Bool {
    isPlain && !head.linear.weight.kind.isBlocks && count >= Self.fewest * pass.compute.pool.count
  }

  /// The loss of rows with a pass over the logits less: e = exp(logit − logit of the target) takes their
  /// place while they are warm, then −log p = log Σe, and dL/dh = scale·(e·W / Σe − W[target]).
  struct Exponentials {
    /// Σe of each row.
    let totals: [Double]
    /// W[target] of each row [rows, hidden].
    let picked: Rows

    /// The losses of some rows, and their gradient in the place of e·W.
    ///
    /// - Returns: Nothing where a sum is out of range: then logits are needed.
    func losses(_ rows: Range<Int>, scale: Float, into d: Rows?, _ compute: Compute) -> [Double]? {
      let (totals, picked) = (Array(totals[rows]), picked[rows])
      guard totals.allSatisfy({ $0 < LossHead.largestSum && $0 > 0 }) else { return nil }
      if let d {
        compute.forEachRow(totals.count, width: d.width) { range in
          for row in range {
            unsafe lmoe_scale(d.row(row), Float(Double(scale) / totals[row]), d.width, d.row(row))
            unsafe lmoe_add_scaled(d.row(row), picked.row(row), -scale, d.width)
          }
        }
      }
      return totals.map { ExponentialSums.logarithm($0) }
    }
  }

  /// Sums of exponentials of all rows.
  ///
  /// - Parameters:
  ///   - hidden: What the head takes in [rows, hidden].
  ///   - d: Where e·W goes [rows, hidden]; nil if nobody needs it.
  /// - Returns: Nothing for few rows, or where the head has experts.
  func exponentials(
    _ hidden: Rows, _ targets: [Target], into d: Rows?, in pass: TrainingPass
  ) -> Exponentials? {
    let (linear, rows) = (head.linear, targets.count)
    guard isPlain, rows > 8 else { return nil }
    let picked = targetRows.rows(rows, hidden.width)
    let own = references.rows(1, rows)
    pass.compute.forEachRow(rows, width: hidden.width) { range in
      for row in range {
        unsafe linear.weight.copyRow(targets[row].token, to: picked.row(row))
        own[0, row] = unsafe lmoe_dot(hidden.row(row), picked.row(row), hidden.width)
      }
    }
    let work = Work(hidden: hidden, weight: linear.weight.view, own: own)
    let totals =
      takesRows(rows, pass) ? byRows(work, into: d, pass) : byColumns(work, into: d, pass)
    return Exponentials(totals: totals, picked: picked)
  }

  /// What e = exp(logit − own) and e·W are made of.
  private struct Work: Sendable {
    let hidden: Rows
    let weight: Weight.View
    /// The logit of each row's target [1, rows].
    let own: Rows
  }

  /// Each worker takes some columns of the logits of all rows: where rows are few, each weight is read once.
  ///
  /// - Returns: Σe of each row.
  private func byColumns(_ work: Work, into d: Rows?, _ pass: TrainingPass) -> [Double] {
    let (rows, vocabulary) = (work.hidden.count, work.weight.rows)
    let sums = ExponentialSums(rows: rows, blocks: (vocabulary + Self.columns - 1) / Self.columns)
    let logits = pass.workspace.logits.rows(rows, vocabulary)
    pass.compute.run([
      Compute.Product(terms: [.linear(work.hidden, work.weight)], output: logits) { columns, _ in
        for row in 0..<rows {
          // Columns are shared out in whole blocks.
          unsafe lmoe_exp_sums(
            logits.row(row) + columns.lowerBound, columns.count, work.own[0, row],
            sums.place(row, columns.lowerBound / Self.columns))
        }
      }
    ])
    if let d { pass.compute.run([Compute.Product(terms: [.plain(logits, work.weight)], output: d)]) }
    return (0..<rows).map { sums.total($0) }
  }

  /// Each worker takes some rows, a part of the vocabulary at a time: what is between the products stays near.
  ///
  /// - Returns: Σe of each row, the same as by columns.
  private func byRows(_ work: Work, into d: Rows?, _ pass: TrainingPass) -> [Double] {
    let (rows, vocabulary, compute) = (work.hidden.count, work.weight.rows, pass.compute)
    let workers = compute.pool.count
    let parts = workers * ((rows + workers * Self.most - 1) / (workers * Self.most))
    let scratch = pass.workspace.logits.rows(workers, Self.part * ((rows + parts - 1) / parts))
    let totals = ExponentialSums(rows: rows, blocks: 1)
    compute.pool.run(items: parts) { item, worker in
      let range = item * rows / parts..<(item + 1) * rows / parts
      let sums = ExponentialSums(rows: 1, blocks: Self.part / Self.columns)
      for row in range { unsafe totals.place(row, 0).pointee = 0 }
      for start in stride(from: 0, to: vocabulary, by: Self.part) {
        let columns = start..<min(start + Self.part, vocabulary)
        let blocks = (columns.count + Self.columns - 1) / Self.columns
        let weight = work.weight[columns]
        let logits = unsafe Rows(base: scratch.row(worker), count: range.count, width: columns.count)
        compute.compute(.linear(work.hidden[range], weight), into: logits, worker)
        for (index, row) in range.enumerated() {
          unsafe lmoe_exp_sums(logits.row(index), columns.count, work.own[0, row], sums.place(0, 0))
          for block in 0..<blocks { unsafe totals.place(row, 0).pointee += sums.place(0, block).pointee }
        }
        if let d { compute.compute(.plain(logits, weight), into: d[range], accumulates: start > 0, worker) }
      }
    }
    return (0..<rows).map { totals.total($0) }
  }
}
