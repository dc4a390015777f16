#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// What each delta counts in a method whose result is a weighted sum of them.
enum MergeCoefficients {
  /// The numbers for the deltas of a module.
  ///
  /// - Parameters:
  ///   - weights: The weights of the experts that change it.
  ///   - products: ⟨δᵢ, δⱼ⟩ for all pairs; asked for where they are needed.
  static func of(
    _ method: MergeMethod, weights: [Double], all: [Double], places: [Int], products: () throws -> [[Double]]
  ) rethrows -> [Double] {
    switch method.kind {
    case .taskArithmetic: return weights.map { $0 * method.lambda }
    case .slerp: return slerp(method, all: all, places: places, try products())
    case .karcher: return karcher(weights, total: all.reduce(0, +), try products())
    default: return weights
    }
  }

  /// Two deltas along the arc between them, as mergekit has it.
  ///
  /// sin((1 − t)θ)/sin θ and sin(tθ)/sin θ, or 1 − t and t where they are all but parallel. A delta that is not there, or is 0, has no direction: then these, too.
  private static func slerp(
    _ method: MergeMethod, all: [Double], places: [Int], _ products: [[Double]]
  ) -> [Double] {
    let t = method.t ?? all[1] / (all[0] + all[1])
    let straight = places.map { $0 == 0 ? 1 - t : t }
    guard places.count == 2 else { return straight }
    let lengths = (products[0][0].squareRoot(), products[1][1].squareRoot())
    guard lengths.0 > 0, lengths.1 > 0 else { return straight }
    let cosine = max(-1, min(1, products[0][1] / (lengths.0 * lengths.1)))
    guard cosine.magnitude <= 0.9995 else { return straight }
    let angle = acos(cosine)
    return places.map { sin(($0 == 0 ? 1 - t : t) * angle) / sin(angle) }
  }

  private static let mostSteps = 100

  /// The Karcher mean of the directions on the unit sphere, times the mean length.
  ///
  /// The mean is a combination of the
  /// deltas, so that only their inner products are needed.
  private static func karcher(_ weights: [Double], total: Double, _ products: [[Double]]) -> [Double] {
    let lengths = products.indices.map { products[$0][$0].squareRoot() }
    let valid = lengths.indices.filter { lengths[$0] > 0 && weights[$0] > 0 }
    let share = valid.reduce(0) { $0 + weights[$1] }
    guard let first = valid.first, share > 0 else { return weights.map { _ in 0 } }
    func cosine(_ mean: [Double], _ index: Int) -> Double {
      valid.reduce(0) { $0 + mean[$1] * products[$1][index] / (lengths[$1] * lengths[index]) }
    }
    func normalised(_ mean: [Double]) -> [Double]? {
      let squared = valid.reduce(0) { $0 + mean[$1] * cosine(mean, $1) }
      guard squared > 1e-20 else { return nil }
      return mean.map { $0 / squared.squareRoot() }
    }
    var start = lengths.map { _ in 0.0 }
    for index in valid { start[index] = weights[index] / share }
    var mean = normalised(start) ?? lengths.indices.map { $0 == first ? 1 : 0 }
    for _ in 0..<mostSteps {
      var tangent = lengths.map { _ in 0.0 }
      for index in valid {
        let dot = max(-1, min(1, cosine(mean, index)))
        let angle = acos(dot)
        guard angle > 1e-9, sin(angle) > 1e-9 else { continue }
        let pull = weights[index] / share * angle / sin(angle)
        tangent[index] += pull
        for place in valid { tangent[place] -= pull * dot * mean[place] }
      }
      let length = max(0, valid.reduce(0) { $0 + tangent[$1] * cosine(tangent, $1) }).squareRoot()
      guard length > 1e-10 else { break }
      let moved = mean.indices.map { cos(length) * mean[$0] + sin(length) * tangent[$0] / length }
      guard let next = normalised(moved) else { break }
      mean = next
    }
    // Coefficients of directions become those of deltas. Experts that do not change the module count with length 0.
    let scale = lengths.indices.reduce(0) { $0 + weights[$1] * lengths[$1] } / total
    return lengths.indices.map { lengths[$0] > 0 ? mean[$0] * scale / lengths[$0] : 0 }
  }
}
