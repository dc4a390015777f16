#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

extension RotaryConfiguration {
  /// f₀ / f of each pair of a head, where the frequencies are those of Llama 3: what `rope_freqs.weight` of a
  /// GGUF file holds.
  func llama3Divisors(dimension: Int) -> [Double] {
    guard case .llama3(let factor, let low, let high, let original) = scaling else { return [] }
    return (0..<dimension / 2).map { index in
      let frequency = pow(theta, -Double(2 * index) / Double(dimension))
      let length = 2 * Double.pi / frequency
      if length > Double(original) / low { return factor }
      if length < Double(original) / high { return 1 }
      let smooth = (Double(original) / length - low) / (high - low)
      return 1 / ((1 - smooth) / factor + smooth)
    }
  }

  /// The numbers of Llama 3 that give these divisors, if there are any: a GGUF file has the divisors alone.
  ///
  /// - Parameter positions: `original_max_position_embeddings` of the models there are.
  static func llama3(divisors: [Float], theta: Double, original: Int) -> Scaling? {
    guard let factor = divisors.max(), factor >= 1 else { return nil }
    let scaling = Scaling.llama3(
      factor: Double(factor), lowFrequency: 1, highFrequency: 4, originalPositions: original)
    let made = RotaryConfiguration(theta: theta, scaling: scaling)
      .llama3Divisors(dimension: 2 * divisors.count)
    let isSame = zip(made, divisors).allSatisfy { abs($0 - Double($1)) <= 1e-5 * $0 }
    return isSame ? scaling : nil
  }

  /// The factor of cos and sin that yarn has unless a model says otherwise.
  static func usualYarnAttention(_ factor: Double) -> Double {
    factor <= 1 ? 1 : 0.1 * log(factor) + 1
  }
}
