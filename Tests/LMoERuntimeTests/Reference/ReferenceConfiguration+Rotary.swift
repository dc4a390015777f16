import Foundation
import LMoEExperts

extension ReferenceConfiguration {
  /// That of a model; a `dynamic` rotation is that within the context the model was made for.
  init(_ model: ModelConfiguration) {
    let (frequencies, magnitude) = Self.rotation(model.rotary, model.headDimension)
    self.init(
      layers: model.layerCount, heads: model.headCount, keyValueHeads: model.keyValueHeadCount,
      epsilon: model.normEpsilon, frequencies: frequencies, rotaryMagnitude: magnitude,
      windows: model.slidingWindows)
  }

  /// The frequencies of registry §5.1.1, and what cos and sin are multiplied with.
  private static func rotation(_ rotary: RotaryConfiguration, _ d: Int) -> ([Double], Double) {
    let theta = rotary.theta
    let plain = (0..<d / 2).map { pow(theta, -2 * Double($0) / Double(d)) }
    switch rotary.scaling {
    case .none, .dynamic: return (plain, 1)
    case .linear(let factor): return (plain.map { $0 / factor }, 1)
    case .llama3(let factor, let low, let high, let original):
      let changed = plain.map { f in
        // How often the angle turns within the original context.
        let turns = Double(original) * f / (2 * Double.pi)
        let s = min(max((turns - low) / (high - low), 0), 1)
        return s * f + (1 - s) * f / factor
      }
      return (changed, 1)
    case .yarn(let factor, let original, let fast, let slow, let magnitude, let truncates):
      func c(_ beta: Double) -> Double {
        Double(d) * log(Double(original) / (2 * Double.pi * beta)) / (2 * log(theta))
      }
      let lo = max(truncates ? c(fast).rounded(.down) : c(fast), 0)
      var hi = min(truncates ? c(slow).rounded(.up) : c(slow), Double(d - 1))
      if lo == hi { hi += 0.001 }
      let changed = plain.enumerated().map { i, f in
        let r = min(max((Double(i) - lo) / (hi - lo), 0), 1)
        return r * f / factor + (1 - r) * f
      }
      return (changed, magnitude)
    }
  }
}
