private import CLMoEKernels
import LMoEExperts

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// The rotary position embedding: the pair (xᵢ, xᵢ₊d/₂) of a head at position p turns by the angle p·fᵢ.
struct Rotary: Sendable {
  /// What the frequencies are made of.
  let configuration: RotaryConfiguration
  /// d.
  let headDimension: Int
  /// The context the model was made for.
  let maximumPositions: Int
  private let frequencies: [Double]
  /// What cos and sin are multiplied with.
  private let magnitude: Double

  init(_ model: ModelConfiguration) {
    configuration = model.rotary
    headDimension = model.headDimension
    maximumPositions = model.maximumPositions
    frequencies = configuration.frequencies(headDimension: model.headDimension)
    if case .yarn(_, _, _, _, let attentionFactor, _) = configuration.scaling {
      magnitude = attentionFactor
    } else {
      magnitude = 1
    }
  }

  /// Cosines and sines of d/2 angles for each position: [positions, d], cosines first.
  ///
  /// - Parameter contextLength: The length of the whole context, on which `dynamic` depends.
  func table(positions: Range<Int>, contextLength: Int, into table: Rows) {
    let frequencies = frequencies(contextLength: contextLength)
    let half = headDimension / 2
    for (row, position) in positions.enumerated() {
      for (index, frequency) in frequencies.enumerated() {
        // transformers multiplies in float32; far out the rounding of the product is what both must share.
        let angle = Float(position) * Float(frequency)
        table[row, index] = Float(cos(Double(angle)) * magnitude)
        table[row, half + index] = Float(sin(Double(angle)) * magnitude)
      }
    }
  }

  /// Turns the heads in rows [T, heads · d] by the angles in `table` [T, d], in place.
  func rotate(_ x: Rows, by table: Rows) {
    for row in 0..<x.count {
      let cosines = unsafe table.row(row)
      unsafe lmoe_rotate(
        x.row(row), x.width / headDimension, headDimension, cosines, cosines + headDimension / 2)
    }
  }

  /// The gradient of `rotate` in the place of that of its output: the transpose turns back.
  func rotateBack(_ gradient: Rows, by table: Rows) {
    for row in 0..<gradient.count {
      let cosines = unsafe table.row(row)
      unsafe lmoe_rotate_backward(
        gradient.row(row), gradient.width / headDimension, headDimension, cosines, cosines + headDimension / 2
      )
    }
  }

  private func frequencies(contextLength: Int) -> [Double] {
    guard case .dynamic(let factor) = configuration.scaling, contextLength > maximumPositions else {
      return frequencies
    }
    let ratio = factor * Double(contextLength) / Double(maximumPositions) - (factor - 1)
    let d = Double(headDimension)
    let theta = configuration.theta * pow(ratio, d / (d - 2))
    return RotaryConfiguration.plain(theta: theta, headDimension: headDimension)
  }
}

extension RotaryConfiguration {
  /// θ^(−2i/d) for i < d/2.
  static func plain(theta: Double, headDimension d: Int) -> [Double] {
    (0..<d / 2).map { pow(theta, -2 * Double($0) / Double(d)) }
  }

  /// The frequencies within the context the model was made for (registry §5.1.1).
  func frequencies(headDimension d: Int) -> [Double] {
    let plain = Self.plain(theta: theta, headDimension: d)
    switch scaling {
    case .none, .dynamic: return plain
    case .linear(let factor): return plain.map { $0 / factor }
    case .llama3(let factor, let low, let high, let original):
      return plain.map { frequency in
        let wavelength = 2 * Double.pi / frequency
        if wavelength > Double(original) / low { return frequency / factor }
        if wavelength < Double(original) / high { return frequency }
        let smooth = (Double(original) / wavelength - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency
      }
    case .yarn(let factor, let original, let fast, let slow, _, let truncates):
      func correction(_ rotations: Double) -> Double {
        Double(d) * log(Double(original) / (rotations * 2 * .pi)) / (2 * log(theta))
      }
      var (start, end) = (correction(fast), correction(slow))
      if truncates { (start, end) = (start.rounded(.down), end.rounded(.up)) }
      start = max(start, 0)
      end = min(end, Double(d - 1))
      if start == end { end += 0.001 }
      return plain.enumerated().map { index, frequency in
        let ramp = min(max((Double(index) - start) / (end - start), 0), 1)
        return ramp * frequency / factor + (1 - ramp) * frequency
      }
    }
  }
}
