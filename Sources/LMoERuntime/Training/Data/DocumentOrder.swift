import LMoECore

/// In which order the documents of several sources come.
///
/// Draw k of a source takes place at the time (k + u) / w, with w the source's weight and u in [0, 1), a
/// function of the seed, the source and k; the earliest draw is next. So after any number of draws each
/// source has had its share to within one document, the next draw needs no more memory than how many each
/// source had, and with weights that are the numbers of documents every document comes once before any comes
/// twice.
struct DocumentOrder: Sendable {
  private let counts: [Int]
  private let weights: [Double]
  private let seed: UInt64
  private let isShuffled: Bool
  /// The order of each source in the epoch that it is in.
  private var permutations: [(epoch: Int, order: Permutation)?]

  init(counts: [Int], weights: [Double], seed: UInt64, isShuffled: Bool) {
    self.counts = counts
    self.weights = weights
    self.seed = seed
    self.isShuffled = isShuffled
    permutations = counts.map { _ in nil }
  }

  /// The source to draw from, after so many draws from each.
  func next(after drawn: [Int]) -> Int {
    var earliest = (source: 0, time: Double.infinity)
    for source in counts.indices {
      let time = (Double(drawn[source]) + offset(source, drawn[source])) / weights[source]
      if time < earliest.time { earliest = (source, time) }
    }
    return earliest.source
  }

  /// A multiple of 2⁻¹⁶, so that sums with it are exact.
  private func offset(_ source: Int, _ draw: Int) -> Double {
    isShuffled ? Double(hash(1, source, draw) >> 48) * 0x1p-16 : 0.5
  }

  /// The document of a draw.
  mutating func document(source: Int, draw: Int) -> Int {
    let (epoch, place) = draw.quotientAndRemainder(dividingBy: counts[source])
    guard isShuffled else { return place }
    if let current = permutations[source], current.epoch == epoch { return current.order[place] }
    let order = Permutation(count: counts[source], seed: hash(2, source, epoch))
    permutations[source] = (epoch, order)
    return order[place]
  }

  private func hash(_ use: UInt64, _ source: Int, _ number: Int) -> UInt64 {
    [seed, use, UInt64(source), UInt64(number)].reduce(0) { hash, word in
      var mixer = SplitMix(seed: hash ^ word)
      return mixer.next()
    }
  }
}
