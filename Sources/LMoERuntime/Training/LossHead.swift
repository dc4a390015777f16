private import CLMoEKernels
import LMoECore

/// The final norm, the head and the loss of a text: −log p of tokens that are to be predicted.
///
/// Logits exist for some rows at a time, and only for rows whose next token is a target.
final class LossHead {
  let norm: RMSNorm
  let head: LinearTape
  private let normed = Activations()
  private let gradient = Activations()
  let targetRows = Activations()
  let references = Activations()

  /// Rows whose logits there are at a time, where all logits of a row are needed.
  private static let block = 512

  init(norm: RMSNorm, head: LinearTape) { (self.norm, self.head) = (norm, head) }

  /// A row, and the token that follows.
  struct Target: Sendable {
    let row: Int
    let token: Int
  }

  /// Computes the loss, and the gradient of the residual stream.
  ///
  /// - Parameters:
  ///   - x: The residual stream after the last layer [T, hidden].
  ///   - targets: The rows whose next token is a target.
  ///   - scale: What each row's −log p counts in the loss.
  ///   - dx: Where the gradient goes [T, hidden], zero in all other rows; nil if nobody needs it.
  ///   - modelGate: The whole model's gate, if it has one.
  /// - Returns: Σ −log p; NaN if a logit is not finite.
  func run(
    _ x: Rows, _ targets: [Target], scale: Float, into dx: Rows?, modelGate: GateTape?, in pass: TrainingPass
  ) -> Double {
    if let dx { pass.compute.forEachRow(dx.count, width: dx.width) { dx[$0].clear() } }
    let blocks = takesRows(targets.count, pass) ? [targets[...]] : Self.blocks(targets[...])
    return blocks.flatMap { run(Array($0), x, scale, dx, modelGate, pass) }.reduce(0, +)
  }

  /// Equal blocks of rows: a last one of a few would be multiplied in another way.
  private static func blocks(_ targets: ArraySlice<Target>) -> [ArraySlice<Target>] {
    let count = (targets.count + block - 1) / block
    return (0..<count).map { index in
      targets[index * targets.count / count..<(index + 1) * targets.count / count]
    }
  }

  private func run(
    _ targets: [Target], _ x: Rows, _ scale: Float, _ dx: Rows?, _ modelGate: GateTape?, _ pass: TrainingPass
  ) -> [Double] {
    let norm = norm
    let hidden = normed.rows(targets.count, x.width)
    pass.compute.forEachRow(targets.count, width: x.width) { rows in
      for index in rows {
        let row = targets[index].row
        norm.forward(x[row..<row + 1], into: hidden[index..<index + 1])
      }
    }
    let d = dx.map { gradient.rows(targets.count, $0.width) }
    let fused = exponentials(hidden, targets, into: d, in: pass)
    let losses = Self.blocks(targets[...]).flatMap { part in
      let (rows, d) = (part.indices, d?[part.indices])
      return fused?.losses(rows, scale: scale, into: d, pass.compute)
        ?? plain(hidden[rows], Array(part), scale, into: d, modelGate, pass)
    }
    if let dx, let d {
      pass.compute.forEachRow(targets.count, width: x.width) { rows in
        for index in rows {
          let row = targets[index].row
          norm.backward(x[row..<row + 1], d[index..<index + 1], into: dx[row..<row + 1], accumulates: false)
        }
      }
    }
    return losses
  }

  /// The losses by way of the logits, and the gradient of what the head takes in.
  private func plain(
    _ hidden: Rows, _ targets: [Target], _ scale: Float, into d: Rows?, _ modelGate: GateTape?,
    _ pass: TrainingPass
  ) -> [Double] {
    let part = modelGate.map { $0.gathered(targets.map(\.row)) }
    pass.gate = part
    let logits = pass.workspace.logits.rows(targets.count, head.linear.outputs)
    LinearTape.forward([LinearTape.Call(tape: head, output: logits)], hidden, in: pass)
    let losses = Guarded([Double](repeating: 0, count: targets.count))
    pass.compute.pool.run(items: targets.count) { index, _ in
      let loss = unsafe lmoe_cross_entropy(logits.row(index), logits.width, targets[index].token, scale)
      losses.withValue { $0[index] = loss }
    }
    if let d {
      LinearTape.backward([LinearTape.BackwardCall(tape: head, gradient: logits)], hidden, into: d, in: pass)
    }
    if let modelGate, let part { modelGate.scatter(part, targets.map(\.row)) }
    return losses.withValue { $0 }
  }
}
