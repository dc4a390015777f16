#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// Where numbers are on an axis, and which of them are named.
struct ChartScale: Sendable {
  /// A number with a name.
  struct Tick: Hashable, Sendable {
    let value: Double
    let label: String
  }

  /// The smallest and the largest number.
  let range: ClosedRange<Double>
  /// Whether equal factors are equally far.
  let isLogarithmic: Bool
  /// The numbers that are named.
  let ticks: [Tick]

  /// From 0 at the left to 1; a number that cannot be shown is NaN.
  func place(of value: Double) -> Double {
    guard value.isFinite else { return .nan }
    if isLogarithmic {
      guard value > 0 else { return .nan }
      return log(value / range.lowerBound) / log(range.upperBound / range.lowerBound)
    }
    return (value - range.lowerBound) / (range.upperBound - range.lowerBound)
  }

  /// A scale with about `count` names that holds all of `values`, and 0 if it is to.
  static func linear(_ values: [Double], count: Int = 4, fromZero: Bool = false) -> ChartScale {
    var low = values.min() ?? 0
    var high = values.max() ?? 1
    if fromZero { (low, high) = (min(0, low), max(0, high)) }
    if !(high - low).isFinite { (low, high) = (low / 4, high / 4) }
    if high - low <= max(abs(high), abs(low)) * 1e-9 {
      let room = high == 0 ? 1 : abs(high) / 2
      (low, high) = (fromZero ? min(0, low) : low - room, high + room)
    }
    let step = niceStep((high - low) / Double(count))
    let margin = (high - low) * 0.04
    let bottom = fromZero && low >= 0 ? 0 : low - margin
    let range = bottom...(high + margin)
    return ChartScale(range: range, isLogarithmic: false, ticks: multiples(of: step, in: range))
  }

  /// The steps of a run, from 0.
  static func steps(to last: Int, count: Int = 6) -> ChartScale {
    let end = Double(max(1, last))
    let step = max(1, niceStep(end / Double(count)))
    return ChartScale(range: 0...end, isLogarithmic: false, ticks: multiples(of: step, in: 0...end))
  }

  /// A logarithmic scale of the positive ones of `values`; nil if there are none.
  static func logarithmic(_ values: [Double]) -> ChartScale? {
    let positive = values.filter { $0 > 0 }
    guard var low = positive.min(), var high = positive.max() else { return nil }
    let room = max(pow(high / low, 0.04), 1.05)
    low = max(low / room, .leastNormalMagnitude)
    high = max(min(high * room, .greatestFiniteMagnitude), low * 2)
    let decades = log10(high / low)
    guard decades.isFinite else { return nil }
    let parts: [Double] = decades > 2 ? [1] : decades > 1 ? [1, 3] : [1, 1.5, 2, 3, 4, 5, 7]
    let stride = max(1, Int((decades / 5).rounded(.up)))
    var ticks: [Tick] = []
    for power in Int(log10(low).rounded(.down))...Int(log10(high).rounded(.up)) where power % stride == 0 {
      for part in parts {
        let value = part * pow(10, Double(power))
        guard value >= low, value <= high else { continue }
        ticks.append(
          Tick(value: value, label: label(value, step: pow(10, Double(power)) * (part == 1.5 ? 0.1 : 1))))
      }
    }
    return ChartScale(range: low...high, isLogarithmic: true, ticks: ticks)
  }

  /// 1, 2 or 5 times a power of ten, near `step`.
  private static func niceStep(_ step: Double) -> Double {
    guard step.isFinite, step > 0 else { return 1 }
    let power = pow(10, log10(step).rounded(.down))
    guard power > 0, power.isFinite else { return step }
    let part = step / power
    return (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10) * power
  }

  private static func multiples(of step: Double, in range: ClosedRange<Double>) -> [Tick] {
    let first = (range.lowerBound / step - 1e-9).rounded(.up)
    return (0..<12).compactMap { index in
      let value = (first + Double(index)) * step
      guard value.isFinite, value <= range.upperBound + step * 1e-9 else { return nil }
      return Tick(value: value, label: label(value, step: step))
    }
  }

  private static func label(_ value: Double, step: Double) -> String {
    if value == 0 { return "0" }
    guard step >= 1e-4, abs(value) < 1e7 else { return significant(value).replacing("-", with: "−") }
    if step >= 1 { return grouped(Int(value.rounded())).replacing("-", with: "−") }
    let digits = Int((-log10(step) - 1e-9).rounded(.up))
    return formatted(value, digits: digits).replacing("-", with: "−")
  }
}
