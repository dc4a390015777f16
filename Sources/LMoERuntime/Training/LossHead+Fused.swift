private import CLMoEKernels
import LMoECore

extension LossHead {
  /// The columns of a block of `lmoe_exp_sums`: blocks are added up in one order, whoever computed them.
  private static let columns = 32
  /// A sum beyond this has lost its smaller terms, or is about to overflow.
  private static let largestSum = 1e30

  /// The loss of some rows with a pass over the logits less: e = exp(logit − logit of the target) takes their place
  /// while they are warm, then −log p = log Σe, and dL/dh = scale·(e·W / Σe − W[target]).
  ///
  /// - Parameters:
  ///   - hidden: What the head takes in [rows, hidden].
  ///   - d: Where its gradient goes [rows, hidden]; nil if nobody needs it.
  /// - Returns: The losses; nil where a sum is out of range, or the head has experts: then logits are needed.
  func fused(
    _ hidden: Rows, _ targets: [Target], scale: Float, into d: Rows?, in pass: TrainingPass
  ) -> [Double]? {
    let linear = head.linear
    guard linear.experts == nil, linear.bias == nil, linear.overlay == nil, targets.count > 8 else {
      return nil
    }
    let (rows, vocabulary) = (targets.count, linear.outputs)
    let logits = pass.workspace.logits.rows(rows, vocabulary)
    let picked = targetRows.rows(rows, hidden.width)
    let own = references.rows(1, rows)
    pass.compute.forEachRow(rows, width: hidden.width) { range in
      for row in range {
        unsafe linear.weight.copyRow(targets[row].token, to: picked.row(row))
        own[0, row] = unsafe lmoe_dot(hidden.row(row), picked.row(row), hidden.width)
      }
    }
    let blocks = (vocabulary + Self.columns - 1) / Self.columns
    let sums = ExponentialSums(rows: rows, blocks: blocks)
    pass.compute.run([
      Compute.Product(terms: [.linear(hidden, linear.weight)], output: logits) { columns, _ in
        for row in 0..<rows {
          // Columns are shared out in whole blocks.
          unsafe lmoe_exp_sums(
            logits.row(row) + columns.lowerBound, columns.count, own[0, row],
            sums.place(row, columns.lowerBound / Self.columns))
        }
      }
    ])
    let totals = (0..<rows).map { sums.total($0) }
    guard totals.allSatisfy({ $0 < Self.largestSum && $0 > 0 }) else { return nil }
    if let d {
      pass.compute.run([Compute.Product(terms: [.plain(logits, linear.weight)], output: d)])
      pass.compute.forEachRow(rows, width: d.width) { range in
        for row in range {
          unsafe lmoe_scale(d.row(row), Float(Double(scale) / totals[row]), d.width, d.row(row))
          unsafe lmoe_add_scaled(d.row(row), picked.row(row), -scale, d.width)
        }
      }
    }
    return totals.map { ExponentialSums.logarithm($0) }
  }
}
