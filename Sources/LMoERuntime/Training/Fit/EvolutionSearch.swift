import LMoECore

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// Looks for the minimum of a function without its gradient: a (1+1) evolution strategy that learns the shape of its
/// steps (Igel, Suttorp and Hansen, 2006: the Cholesky factor of the covariance gets a rank-one update by each step
/// that helped).
struct EvolutionSearch {
  private let dimensions: Int
  private let bounds: ClosedRange<Double>
  private var random: RandomSource
  /// The size of steps.
  private var size: Double
  /// The Cholesky factor of their covariance, by rows.
  private var factor: [Double]
  /// The share of steps that helped lately.
  private var success: Double

  private static let target = 2.0 / 11
  private static let memory = 1.0 / 12

  init(dimensions: Int, bounds: ClosedRange<Double>, seed: UInt64) {
    (self.dimensions, self.bounds) = (dimensions, bounds)
    random = RandomSource(seed: seed)
    size = (bounds.upperBound - bounds.lowerBound) / 6
    factor = (0..<dimensions * dimensions).map { $0 % (dimensions + 1) == 0 ? 1 : 0 }
    success = Self.target
  }

  /// The best point that was tried, the first of them 0.
  mutating func minimise(
    evaluations: Int, _ function: ([Double]) throws -> Double
  ) rethrows -> [Double] {
    var best = [Double](repeating: 0, count: dimensions)
    var value = try function(best)
    for _ in 1..<max(1, evaluations) {
      let (z, candidate) = step(from: best)
      let other = try function(candidate)
      // Not a number is no better.
      let isBetter = other <= value
      adapt(z, isBetter)
      if isBetter { (best, value) = (candidate, other) }
    }
    return best
  }

  /// Normal numbers, and where they lead: best + size · A·z, within the bounds.
  private mutating func step(from best: [Double]) -> (z: [Double], candidate: [Double]) {
    let z = (0..<dimensions).map { _ in random.normal() }
    let candidate = (0..<dimensions).map { row in
      let change = (0..<dimensions).reduce(0) { $0 + factor[row * dimensions + $1] * z[$1] }
      return min(bounds.upperBound, max(bounds.lowerBound, best[row] + size * change))
    }
    return (z, candidate)
  }

  private mutating func adapt(_ z: [Double], _ isBetter: Bool) {
    let damping = 1 + Double(dimensions) / 2
    success += Self.memory * ((isBetter ? 1 : 0) - success)
    size *= exp((success - Self.target) / (1 - Self.target) / damping)
    guard isBetter else { return }
    // A ← √(1−c)·A + (√(1−c)/‖z‖²)·(√(1 + c‖z‖²/(1−c)) − 1)·(A·z)·zᵀ
    let share = 2 / (Double(dimensions * dimensions) + 6)
    let length = z.reduce(0) { $0 + $1 * $1 }
    guard length > 0 else { return }
    let root = (1 - share).squareRoot()
    let gain = root / length * ((1 + share * length / (1 - share)).squareRoot() - 1)
    let moved = (0..<dimensions).map { row in
      (0..<dimensions).reduce(0) { $0 + factor[row * dimensions + $1] * z[$1] }
    }
    for row in 0..<dimensions {
      for column in 0..<dimensions {
        let place = row * dimensions + column
        factor[place] = root * factor[place] + gain * moved[row] * z[column]
      }
    }
  }
}
