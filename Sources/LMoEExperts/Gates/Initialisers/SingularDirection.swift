import LMoECore
import LMoEFormat

/// The direction of inputs to which a product B·A gives most: its first right-singular vector.
///
/// It is the dominant eigenvector of AᵀBᵀBA, found by power iteration. All of it happens between the factors:
/// with v = Aᵀu a step is u ← (BᵀB)(AAᵀ)u, on matrices of rank × rank.
struct SingularDirection {
  private let a: [Float]
  private let rank: Int
  /// AAᵀ and BᵀB.
  private let (inner, outer): ([Double], [Double])

  /// Multiplications that may be spent before the direction is taken as it is: two singular values that are
  /// almost equal have none of their own.
  private static let budget = 100_000_000
  private static let tolerance = 1e-8

  /// Takes A (rank × input) and B (output × rank), by rows.
  init(a: [Float], b: [Float], rank: Int) {
    (self.a, self.rank) = (a, rank)
    (inner, outer) = (gramOfRows(a, count: rank), gramOfColumns(b, count: rank))
  }

  /// Whether every value is a number.
  var isFinite: Bool { inner.allSatisfy(\.isFinite) && outer.allSatisfy(\.isFinite) }

  /// The direction, of length 1 and with its largest element positive; nil where the product is zero.
  func vector() -> [Float]? {
    // The same start for everybody; orthogonal to the direction only by a miracle.
    var source = RandomSource(seed: 0)
    guard var state = normalised((0..<rank).map { _ in source.normal() }) else { return nil }
    var last: Double?
    for _ in 0..<max(100, Self.budget / max(1, 2 * rank * rank)) {
      guard let next = normalised(times(outer, state.image)) else { return nil }
      let distance = zip(zip(next.u, state.u), zip(next.image, state.image))
        .reduce(0) { $0 + ($1.0.0 - $1.0.1) * ($1.1.0 - $1.1.1) }.magnitude.squareRoot()
      state = next
      // Steps shrink by a constant ratio: what is still to come is their geometric series.
      if distance < 1e-13 { break }
      if let last, distance < last {
        let ratio = distance / last
        if distance * ratio / (1 - ratio) < Self.tolerance { break }
      }
      last = distance
    }
    return vector(state.u)
  }

  /// u at the length where Aᵀu has length 1, and AAᵀu.
  private func normalised(_ u: [Double]) -> (u: [Double], image: [Double])? {
    let image = times(inner, u)
    let square = zip(u, image).reduce(0) { $0 + $1.0 * $1.1 }
    guard square > 0, square.isFinite else { return nil }
    let length = square.squareRoot()
    return (u.map { $0 / length }, image.map { $0 / length })
  }

  private func times(_ matrix: [Double], _ vector: [Double]) -> [Double] {
    (0..<rank).map { row in
      var sum = 0.0
      for column in 0..<rank { sum += matrix[row * rank + column] * vector[column] }
      return sum
    }
  }

  private func vector(_ u: [Double]) -> [Float]? {
    let width = a.count / rank
    var result = [Double](repeating: 0, count: width)
    for row in 0..<rank {
      for column in 0..<width { result[column] += u[row] * Double(a[row * width + column]) }
    }
    // The sign is nobody's: one is chosen, so that two runs agree.
    let largest = result.max { $0.magnitude < $1.magnitude } ?? 0
    guard largest != 0 else { return nil }
    return NewGate.unit(largest < 0 ? result.map { -$0 } : result)
  }
}
