#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

extension GateWork {
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
