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

  /// The same as the kernels know it.
  let kernel: GateKernel

  init(
    name: String, score: Score, rows: Weight?, terms: Weight?, normaliser: Normaliser, temperature: Float,
    routed: [Int], always: [Int], width: Int
  ) {
    (self.name, self.score, self.rows, self.terms) = (name, score, rows, terms)
    (self.normaliser, self.temperature) = (normaliser, temperature)
    (self.routed, self.always, self.width) = (routed, always, width)
    kernel = GateKernel(
      score, normaliser, temperature: temperature, rows: rows, terms: terms, routed: routed, always: always,
      width: width)
  }

  /// Of what all members cost the part that those cost which a token has.
  func chosenPart(of cost: Int) -> Int {
    let members = routed.count + always.count
    let chosen =
      switch normaliser {
      case .topKRenormalised(let k), .topKRaw(let k): min(k, routed.count)
      case .none, .softmax: routed.count
      }
    return members == 0 ? 0 : cost * (always.count + chosen) / members
  }

  /// Weighs the experts for each row.
  ///
  /// - Parameters:
  ///   - input: What the gate looks at [T, inputs].
  ///   - weights: Where the weights go [T, width].
  func weigh(_ input: Rows, into weights: Rows, in pass: Pass) {
    pass.compute.timed(.gates) { decide(input, into: weights, in: pass) }
    pass.recorder?.record(name, weights)
  }

  private func decide(_ input: Rows, into weights: Rows, in pass: Pass) {
    // The second half is scratch of the kernel.
    let products = pass.workspace.gateScores.rows(input.count, 2 * max(1, routed.count))
    if let rows, !routed.isEmpty {
      pass.compute.run([
        Compute.Product(terms: [.linear(input, rows)], output: products.columns(0..<routed.count))
      ])
    }
    pass.forEachRow(input.count, width: input.width) { rows in
      kernel.weigh(products[rows], input[rows], into: weights[rows])
    }
  }

  /// 1/‖p‖; 0 for a row of zeros.
  static func inverseNorm(_ row: [Float]) -> Float {
    let square = row.reduce(0) { $0 + Double($1) * Double($1) }
    return square > 0 ? Float(1 / square.squareRoot()) : 0
  }
}
