private import CLMoEKernels
import LMoECore

/// A gate at one place: it turns an input of each token into a weight for each expert.
struct GateInstance: Sendable {
  /// How a score comes about.
  enum Score: Sendable {
    /// The same for every token: the terms.
    case constant
    /// w·h + b; the terms are b.
    case linear
    /// p·h.
    case dot
    /// |p·h|.
    case absoluteDot
    /// p·h / (‖p‖ ‖h‖); the terms are 1/‖p‖.
    case cosine
  }

  /// How scores become weights.
  enum Normaliser: Sendable {
    case none
    case softmax
    case topKRenormalised(Int)
    case topKRaw(Int)
  }

  /// The name of the place: a module, a layer or `global`.
  let name: String
  let score: Score
  /// The rows of the scores' weight [routed, inputs]; nil for constants.
  let rows: Weight?
  /// A number for each routed member [routed], where the score has one.
  let terms: Weight?
  let normaliser: Normaliser
  let temperature: Float
  /// The column of each routed member; the order decides between equal scores.
  let routed: [Int]
  /// The columns of members that always have weight 1.
  let always: [Int]
  /// Columns: all experts, and the null expert after them if there is one.
  let width: Int

  /// Weighs the experts for each row.
  ///
  /// - Parameters:
  ///   - input: What the gate looks at [T, inputs].
  ///   - weights: Where the weights go [T, width].
  func weigh(_ input: Rows, into weights: Rows, in pass: Pass) {
    let scores = pass.workspace.gateScores.rows(input.count, max(1, routed.count))
    if let rows, !routed.isEmpty {
      pass.compute.compute(.linear(input, rows), into: scores, 0)
    }
    for row in 0..<input.count {
      weigh(input[row..<row + 1], scores[row..<row + 1], into: weights[row..<row + 1])
    }
    pass.recorder?.record(name, weights)
  }

  private func weigh(_ input: Rows, _ products: Rows, into weights: Rows) {
    weights.clear()
    for column in always { weights[0, column] = 1 }
    guard !routed.isEmpty else { return }
    var scores = products.array(0)
    switch score {
    case .constant: scores = terms?.floats ?? []
    case .linear:
      for (index, bias) in (terms?.floats ?? []).enumerated() { scores[index] += bias }
    case .dot: break
    case .absoluteDot: for index in scores.indices { scores[index] = abs(scores[index]) }
    case .cosine:
      var isFinite: Int32 = 1
      let length = unsafe lmoe_sum_squares(input.base, input.width, Weight.Kind.f32.code, &isFinite)
        .squareRoot()
      let inverse = length > 0 ? Float(1 / length) : 0
      for (index, inverseNorm) in (terms?.floats ?? []).enumerated() {
        scores[index] *= inverseNorm * inverse
      }
    }
    for index in scores.indices { scores[index] /= temperature }
    for (column, weight) in zip(routed, Self.normalised(scores, normaliser)) { weights[0, column] += weight }
  }

  /// 1/‖p‖; 0 for a row of zeros.
  static func inverseNorm(_ row: [Float]) -> Float {
    let square = row.reduce(0) { $0 + Double($1) * Double($1) }
    return square > 0 ? Float(1 / square.squareRoot()) : 0
  }

  /// Turns scores into weights.
  static func normalised(_ scores: [Float], _ normaliser: Normaliser) -> [Float] {
    switch normaliser {
    case .none: return scores
    case .softmax: return softmax(scores)
    case .topKRenormalised(let k):
      let chosen = largest(k, of: scores)
      let weights = softmax(chosen.map { scores[$0] })
      var result = [Float](repeating: 0, count: scores.count)
      for (index, weight) in zip(chosen, weights) { result[index] = weight }
      return result
    case .topKRaw(let k):
      let weights = softmax(scores)
      var result = [Float](repeating: 0, count: scores.count)
      for index in largest(k, of: scores) { result[index] = weights[index] }
      return result
    }
  }

  private static func softmax(_ scores: [Float]) -> [Float] {
    var result = scores
    unsafe result.withUnsafeMutableBufferPointer { buffer in
      if let base = buffer.baseAddress { _ = unsafe lmoe_softmax(base, buffer.count) }
    }
    return result
  }

  /// The indices of the `k` largest; of equal ones, the first.
  private static func largest(_ k: Int, of scores: [Float]) -> [Int] {
    let order = scores.indices.sorted { scores[$0] > scores[$1] || (scores[$0] == scores[$1] && $0 < $1) }
    return Array(order.prefix(k))
  }
}
