import LMoECore

/// A number with a name: a part of the loss, or a learning rate.
public struct MetricValue: Hashable, Sendable {
  /// What it is.
  public let name: String
  /// The number; NaN if it was not finite.
  public let value: Double

  /// Makes a named number.
  public init(_ name: String, _ value: Double) { (self.name, self.value) = (name, value) }
}

extension JSON {
  /// A measured number, to the seven digits that a `Float` has; null if it is not finite.
  static func metric(_ value: Double) -> JSON {
    let short = Float(value)
    guard short.isFinite, Int(exactly: value) == nil else { return .double(value) }
    return .number(JSONNumber(text: "\(short)"))
  }

  /// A weight, to four decimals; null if it is not finite.
  static func weight(_ value: Float) -> JSON {
    guard value.isFinite, abs(value) < 1e6 else { return .metric(Double(value)) }
    return .double((Double(value) * 10_000).rounded() / 10_000)
  }

  /// Named numbers, in order.
  static func metrics(_ values: [MetricValue]) -> JSON {
    .object(values.map { ($0.name, .metric($0.value)) })
  }
}
