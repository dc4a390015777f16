private import CLMoEKernels

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// The arithmetic of a gate in training, row by row, with nothing allocated on the way.
///
/// The gradients are those of the table in `spec/training.md`: γ of the weights, ζ of the scores.
@safe struct GateWork: @unchecked Sendable {
  let raw: Rows
  let weights: Rows
  let input: Rows
  let score: GateInstance.Score
  let normaliser: GateInstance.Normaliser
  let temperature: Float
  let routed: [Int]
  let always: [Int]
  let terms: [Float]
  let labels: [Int?]
  let scale: AuxiliaryLosses.Scale

  init(_ gate: GateInstance, raw: Rows, weights: Rows, input: Rows, pass: TrainingPass) {
    (self.raw, self.weights, self.input) = (raw, weights, input)
    (score, normaliser, temperature) = (gate.score, gate.normaliser, gate.temperature)
    (routed, always, terms) = (gate.routed, gate.always, gate.terms?.floats ?? [])
    (labels, scale) = (pass.labels, pass.auxiliary)
  }

  static func logarithm(_ value: Double) -> Double { log(value) }

  /// Whether the softmax over all members is wanted, beyond what the weights need.
  var wantsProbabilities: Bool { !scale.losses.isEmpty || !labels.isEmpty }

  /// Numbers for one row, of each routed member.
  @safe struct Scratch {
    @unsafe let z: UnsafeMutablePointer<Float>
    @unsafe let p: UnsafeMutablePointer<Float>
    @unsafe let w: UnsafeMutablePointer<Float>
    let n: Int
  }

  func withScratch<Result>(_ body: (Scratch) -> Result) -> Result {
    let n = routed.count
    return unsafe withUnsafeTemporaryAllocation(of: Float.self, capacity: 3 * n + 1) { buffer in
      let base = unsafe buffer.baseAddress.unsafelyUnwrapped
      return body(unsafe Scratch(z: base, p: base + n, w: base + 2 * n, n: n))
    }
  }

  // MARK: Forward

  /// Writes the weights of some rows.
  func weigh(_ rows: Range<Int>) -> GateMeans {
    var means = GateMeans()
    means.rows = rows.count
    means.weights = [Double](repeating: 0, count: weights.width)
    means.probability = [Double](repeating: 0, count: routed.count)
    means.choices = means.probability
    withScratch { scratch in
      for row in rows { weigh(row, scratch, &means) }
    }
    return means
  }

  private func weigh(_ row: Int, _ scratch: Scratch, _ means: inout GateMeans) {
    let out = unsafe weights.row(row)
    unsafe out.update(repeating: 0, count: weights.width)
    for column in always { unsafe out[column] = 1 }
    if !routed.isEmpty {
      scores(row, scratch)
      let logSum = normalise(scratch)
      for index in 0..<scratch.n { unsafe out[routed[index]] += scratch.w[index] }
      unsafe count(scratch, logSum, &means)
    }
    if let label = label(row) {
      unsafe out.update(repeating: 0, count: weights.width)
      for column in always { unsafe out[column] = 1 }
      if let index = routed.firstIndex(of: label) {
        unsafe out[label] += 1
        means.supervised -= log(max(Double(unsafe scratch.p[index]), 1e-300))
      }
    }
    for column in 0..<weights.width { unsafe means.weights[column] += Double(out[column]) }
  }

  func label(_ row: Int) -> Int? { labels.isEmpty ? nil : labels[row] }

  @unsafe private func count(_ scratch: Scratch, _ logSum: Float, _ means: inout GateMeans) {
    var (sum, entropy) = (0.0, 0.0)
    for index in 0..<scratch.n {
      let weight = unsafe Double(abs(scratch.w[index]))
      sum += weight
      if weight > 0 { entropy -= weight * log(weight) }
    }
    if sum > 0, scratch.n > 1 { means.entropy += (entropy / sum + log(sum)) / log(Double(scratch.n)) }
    guard wantsProbabilities else { return }
    for index in 0..<scratch.n {
      let p = Double(unsafe scratch.p[index])
      means.probability[index] += p
      if p > 0 { means.probabilityEntropy -= p * log(p) }
      if unsafe scratch.w[index] != 0 { means.choices[index] += 1 }
    }
    means.squares += Double(logSum) * Double(logSum)
  }

  /// z of each routed member.
  func scores(_ row: Int, _ scratch: Scratch) {
    let raw = unsafe raw.row(row)
    let z = unsafe scratch.z
    switch score {
    case .constant: for index in 0..<scratch.n { unsafe z[index] = terms[index] }
    case .linear: for index in 0..<scratch.n { unsafe z[index] = raw[index] + terms[index] }
    case .dot: for index in 0..<scratch.n { unsafe z[index] = raw[index] }
    case .absoluteDot: for index in 0..<scratch.n { unsafe z[index] = abs(raw[index]) }
    case .cosine:
      let inverse = inverseNorm(row)
      for index in 0..<scratch.n { unsafe z[index] = raw[index] * terms[index] * inverse }
    }
    for index in 0..<scratch.n { unsafe z[index] /= temperature }
  }

  func inverseNorm(_ row: Int) -> Float {
    var isFinite: Int32 = 1
    let length = unsafe lmoe_sum_squares(input.row(row), input.width, Weight.Kind.f32.code, &isFinite)
      .squareRoot()
    return length > 0 ? Float(1 / length) : 0
  }

  /// Weights w of the scores, and p where it is wanted or needed; returns log Σ exp z then.
  @discardableResult func normalise(_ scratch: Scratch) -> Float {
    let n = scratch.n
    let (z, p, w) = unsafe (scratch.z, scratch.p, scratch.w)
    func probabilities() -> Float {
      unsafe p.update(from: z, count: n)
      return unsafe lmoe_softmax(p, n)
    }
    var logSum: Float = 0
    if wantsProbabilities { logSum = probabilities() }
    switch normaliser {
    case .none: unsafe w.update(from: z, count: n)
    case .softmax:
      if !wantsProbabilities { logSum = probabilities() }
      unsafe w.update(from: p, count: n)
    case .topKRaw(let k):
      if !wantsProbabilities { logSum = probabilities() }
      choose(k, scratch)
      for index in 0..<n { unsafe w[index] *= p[index] }
    case .topKRenormalised(let k):
      choose(k, scratch)
      var largest = -Float.infinity
      for index in 0..<n where unsafe w[index] != 0 { largest = max(largest, unsafe z[index]) }
      var sum: Float = 0
      for index in 0..<n where unsafe w[index] != 0 {
        unsafe w[index] = exp(z[index] - largest)
        sum += unsafe w[index]
      }
      for index in 0..<n { unsafe w[index] /= sum }
    }
    return logSum
  }

  /// Writes 1 to w of the k largest scores, and 0 to the rest; of equal scores the first count as larger.
  private func choose(_ k: Int, _ scratch: Scratch) {
    let (z, w) = unsafe (scratch.z, scratch.w)
    for index in 0..<scratch.n {
      var larger = 0
      for other in 0..<scratch.n {
        if unsafe z[other] > z[index] || (z[other] == z[index] && other < index) { larger += 1 }
      }
      unsafe w[index] = larger < k ? 1 : 0
    }
  }
}
