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
  private let raw: Rows
  private let weights: Rows
  private let input: Rows
  private let score: GateInstance.Score
  private let normaliser: GateInstance.Normaliser
  private let temperature: Float
  private let routed: [Int]
  private let always: [Int]
  private let terms: [Float]
  private let labels: [Int?]
  private let scale: AuxiliaryLosses.Scale

  init(_ gate: GateInstance, raw: Rows, weights: Rows, input: Rows, pass: TrainingPass) {
    (self.raw, self.weights, self.input) = (raw, weights, input)
    (score, normaliser, temperature) = (gate.score, gate.normaliser, gate.temperature)
    (routed, always, terms) = (gate.routed, gate.always, gate.terms?.floats ?? [])
    (labels, scale) = (pass.labels, pass.auxiliary)
  }

  static func logarithm(_ value: Double) -> Double { log(value) }

  /// Whether the softmax over all members is wanted, beyond what the weights need.
  private var wantsProbabilities: Bool { !scale.losses.isEmpty || !labels.isEmpty }

  /// Numbers for one row, of each routed member.
  @safe private struct Scratch {
    @unsafe let z: UnsafeMutablePointer<Float>
    @unsafe let p: UnsafeMutablePointer<Float>
    @unsafe let w: UnsafeMutablePointer<Float>
    let n: Int
  }

  private func withScratch<Result>(_ body: (Scratch) -> Result) -> Result {
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

  private func label(_ row: Int) -> Int? { labels.isEmpty ? nil : labels[row] }

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
  private func scores(_ row: Int, _ scratch: Scratch) {
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

  private func inverseNorm(_ row: Int) -> Float {
    var isFinite: Int32 = 1
    let length = unsafe lmoe_sum_squares(input.row(row), input.width, Weight.Kind.f32.code, &isFinite)
      .squareRoot()
    return length > 0 ? Float(1 / length) : 0
  }

  /// Weights w of the scores, and p where it is wanted or needed; returns log Σ exp z then.
  @discardableResult private func normalise(_ scratch: Scratch) -> Float {
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

  // MARK: Backward

  /// Writes the gradients of the raw products of some rows.
  ///
  /// - Returns: Σ over the rows of what terms gain; for cosines, of ζ·z.
  func unweigh(
    _ rows: Range<Int>, _ gammas: Rows, _ means: GateMeans, into zeta: Rows, transposed: Rows,
    corrections: Rows
  ) -> [Double] {
    var sums = [Double](repeating: 0, count: max(1, routed.count))
    let extra = auxiliary(means)
    withScratch { scratch in
      for row in rows {
        guard !routed.isEmpty else {
          zeta[row, 0] = 0
          transposed[0, row] = 0
          continue
        }
        scores(row, scratch)
        let logSum = normalise(scratch)
        unsafe gradient(row, scratch, gammas.row(row), into: zeta.row(row))
        if let extra { unsafe add(extra, scratch, logSum, to: zeta.row(row)) }
        unsafe unscore(row, scratch, zeta.row(row), corrections, &sums)
        for index in 0..<scratch.n { transposed[index, row] = zeta[row, index] }
      }
    }
    return sums
  }

  /// dL/dz of the weights' gradients, or of the supervised loss.
  @unsafe private func gradient(
    _ row: Int, _ scratch: Scratch, _ gamma: UnsafePointer<Float>, into out: UnsafeMutablePointer<Float>
  ) {
    let n = scratch.n
    let (p, w) = unsafe (scratch.p, scratch.w)
    if let label = label(row) {
      let factor = Float(scale.supervised / Double(max(1, scale.labelled)))
      let target = routed.firstIndex(of: label)
      for index in 0..<n {
        unsafe out[index] = target == nil ? 0 : factor * (p[index] - (index == target ? 1 : 0))
      }
      return
    }
    switch normaliser {
    case .none: for index in 0..<n { unsafe out[index] = gamma[routed[index]] }
    case .softmax, .topKRenormalised:
      var mean: Float = 0
      for index in 0..<n { unsafe mean += w[index] * gamma[routed[index]] }
      for index in 0..<n { unsafe out[index] = w[index] * (gamma[routed[index]] - mean) }
    case .topKRaw:
      var mean: Float = 0
      for index in 0..<n { unsafe mean += w[index] * gamma[routed[index]] }
      for index in 0..<n {
        unsafe out[index] = p[index] * ((w[index] != 0 ? gamma[routed[index]] : 0) - mean)
      }
    }
  }

  /// What all rows need for the gradients of the auxiliary losses.
  private struct Auxiliary {
    /// Σ over the losses of what multiplies p before it is centred, except for −log p of the row itself.
    var slopes: [Double]
    var z: Double
    var information: Double
  }

  private func auxiliary(_ means: GateMeans) -> Auxiliary? {
    let losses = scale.losses
    guard !losses.isEmpty else { return nil }
    let share = 1 / Double(scale.rows) / Double(scale.gates)
    let count = Double(routed.count)
    let slopes = routed.indices.map { index in
      let mean = means.meanProbability(index)
      let load = normaliser.choosesSome ? means.load(index) : 2 * mean
      return share
        * (losses.balance * count * load
          + losses.mutualInformation * (mean > 0 ? log(mean) : 0))
    }
    return Auxiliary(slopes: slopes, z: 2 * share * losses.z, information: share * losses.mutualInformation)
  }

  @unsafe private func add(
    _ extra: Auxiliary, _ scratch: Scratch, _ logSum: Float, to out: UnsafeMutablePointer<Float>
  ) {
    var mean = 0.0
    func slope(_ index: Int, _ p: Double) -> Double {
      extra.slopes[index] - (p > 0 ? extra.information * log(p) : 0)
    }
    for index in 0..<scratch.n {
      let p = Double(unsafe scratch.p[index])
      mean += p * slope(index, p)
    }
    for index in 0..<scratch.n {
      let p = Double(unsafe scratch.p[index])
      unsafe out[index] += Float(p * (slope(index, p) - mean + extra.z * Double(logSum)))
    }
  }

  /// From dL/dz to the gradient of the raw products.
  @unsafe private func unscore(
    _ row: Int, _ scratch: Scratch, _ zeta: UnsafeMutablePointer<Float>, _ corrections: Rows,
    _ sums: inout [Double]
  ) {
    for index in 0..<scratch.n { unsafe zeta[index] /= temperature }
    switch score {
    case .constant, .linear, .dot:
      for index in 0..<scratch.n { unsafe sums[index] += Double(zeta[index]) }
    case .absoluteDot:
      for index in 0..<scratch.n where raw[row, index] < 0 { unsafe zeta[index] = -zeta[index] }
    case .cosine:
      let inverse = inverseNorm(row)
      var own: Float = 0
      for index in 0..<scratch.n {
        let part = unsafe zeta[index] * scratch.z[index] * temperature
        sums[index] += Double(part)
        own += part
        unsafe zeta[index] *= terms[index] * inverse
      }
      corrections[0, row] = -own * inverse * inverse
    }
  }
}
