#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif
import LMoECore

/// The rotary position embedding (RoPE) of a model: its base frequency and how it was stretched.
public struct RotaryConfiguration: Hashable, Sendable {
  /// How the frequencies θ^(−2i/d) were changed for contexts longer than those of the first training
  /// (transformers' `modeling_rope_utils`).
  public enum Scaling: Hashable, Sendable {
    /// Not at all.
    case none
    /// Every frequency divided by `factor`.
    case linear(factor: Double)
    /// θ grows with the context beyond the model's maximum.
    case dynamic(factor: Double)
    /// Long wavelengths divided by `factor`, short ones kept, smooth between.
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, originalPositions: Int)
    /// Interpolated along a ramp between two correction dimensions; cos and sin times `attentionFactor`.
    case yarn(
      factor: Double, originalPositions: Int, betaFast: Double, betaSlow: Double, attentionFactor: Double,
      truncates: Bool)
  }

  /// θ.
  public let theta: Double
  /// How it was stretched.
  public let scaling: Scaling
}

extension RotaryConfiguration {
  /// Reads `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta` (transformers 4); where both
  /// stand, transformers takes `rope_scaling`.
  ///
  /// - Parameter positions: `max_position_embeddings`, which stands in for a missing original length.
  init(_ reader: ConfigurationReader, positions: Int) throws {
    let nested = try reader.object("rope_scaling") ?? reader.object("rope_parameters")
    let inner = nested.map {
      reader.inside($0, of: reader.has("rope_scaling") ? "rope_scaling" : "rope_parameters")
    }
    theta = try inner?.number("rope_theta") ?? reader.number("rope_theta") ?? 10_000
    guard theta > 1 else { throw reader.invalid("rope_theta is not greater than 1") }
    let partial = try inner?.number("partial_rotary_factor") ?? reader.number("partial_rotary_factor") ?? 1
    guard partial == 1 else { throw reader.unsupported("partial_rotary_factor", .double(partial)) }
    guard let inner else {
      scaling = .none
      return
    }
    let kind = try inner.text("rope_type") ?? inner.text("type") ?? "default"
    func factor() throws -> Double {
      guard let factor = try inner.number("factor"), factor > 0 else {
        throw inner.invalid("RoPE of the type \"\(kind)\" needs a positive factor")
      }
      return factor
    }
    let original =
      try reader.integer("original_max_position_embeddings")
      ?? inner.integer("original_max_position_embeddings") ?? positions
    switch kind {
    case "default": scaling = .none
    case "linear": scaling = .linear(factor: try factor())
    case "dynamic", "ntk": scaling = .dynamic(factor: try factor())
    case "llama3":
      guard let low = try inner.number("low_freq_factor"), let high = try inner.number("high_freq_factor"),
        low > 0, high > low
      else {
        throw inner.invalid("RoPE of the type \"llama3\" needs low_freq_factor < high_freq_factor")
      }
      scaling = .llama3(
        factor: try factor(), lowFrequency: low, highFrequency: high, originalPositions: original)
    case "yarn":
      let factor = try inner.isNull("factor") ? Double(positions) / Double(original) : factor()
      scaling = .yarn(
        factor: factor, originalPositions: original,
        betaFast: try inner.number("beta_fast", zeroIsNone: true) ?? 32,
        betaSlow: try inner.number("beta_slow", zeroIsNone: true) ?? 1,
        attentionFactor: try Self.yarnAttentionFactor(inner, factor: factor),
        truncates: try inner.flag("truncate") ?? true)
    default: throw inner.unsupported("rope_type", .string(kind))
    }
    try inner.requireOnly(Self.keys)
  }

  /// Keys that may stand inside; another would change the frequencies in a way nobody here knows.
  private static let keys: Set<String> = [
    "rope_theta", "rope_type", "type", "factor", "original_max_position_embeddings", "partial_rotary_factor",
    "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor", "mscale",
    "mscale_all_dim", "truncate",
  ]

  /// 0.1·ln(factor) + 1, or the ratio of two such with `mscale` and `mscale_all_dim`.
  private static func yarnAttentionFactor(_ inner: ConfigurationReader, factor: Double) throws -> Double {
    if let given = try inner.number("attention_factor") { return given }
    func mscale(_ scale: Double) -> Double { factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1 }
    if let scale = try inner.number("mscale", zeroIsNone: true),
      let all = try inner.number("mscale_all_dim", zeroIsNone: true)
    {
      return mscale(scale) / mscale(all)
    }
    return mscale(1)
  }
}

extension RotaryConfiguration {
  /// As a card has it (registry §5.1).
  var json: JSON {
    var object: [(String, JSON)] = [("theta", .double(theta))]
    switch scaling {
    case .none: object.append(("type", "default"))
    case .linear(let factor): object += [("type", "linear"), ("factor", .double(factor))]
    case .dynamic(let factor): object += [("type", "dynamic"), ("factor", .double(factor))]
    case .llama3(let factor, let low, let high, let original):
      object += [
        ("type", "llama3"), ("factor", .double(factor)), ("low_freq_factor", .double(low)),
        ("high_freq_factor", .double(high)), ("original_positions", .integer(original)),
      ]
    case .yarn(let factor, let original, let fast, let slow, let attention, let truncates):
      object += [
        ("type", "yarn"), ("factor", .double(factor)), ("original_positions", .integer(original)),
        ("beta_fast", .double(fast)), ("beta_slow", .double(slow)), ("attention_factor", .double(attention)),
        ("truncate", .bool(truncates)),
      ]
    }
    return .object(object)
  }

  /// Reads what a card has; nil if something is missing.
  init?(card json: JSON) {
    guard let theta = json["theta"]?.double, theta > 1, let type = json["type"]?.string else { return nil }
    func number(_ key: String) -> Double? { json[key]?.double }
    let factor = number("factor")
    let original = json["original_positions"]?.int.flatMap { $0 > 0 ? $0 : nil }
    let scaling: Scaling
    switch type {
    case "default": scaling = .none
    case "linear":
      guard let factor else { return nil }
      scaling = .linear(factor: factor)
    case "dynamic":
      guard let factor else { return nil }
      scaling = .dynamic(factor: factor)
    case "llama3":
      guard let factor, let original, let low = number("low_freq_factor"),
        let high = number("high_freq_factor")
      else { return nil }
      scaling = .llama3(factor: factor, lowFrequency: low, highFrequency: high, originalPositions: original)
    case "yarn":
      guard let factor, let original, let fast = number("beta_fast"), let slow = number("beta_slow"),
        let attention = number("attention_factor"), let truncates = json["truncate"]?.bool
      else { return nil }
      scaling = .yarn(
        factor: factor, originalPositions: original, betaFast: fast, betaSlow: slow,
        attentionFactor: attention, truncates: truncates)
    default: return nil
    }
    self.init(theta: theta, scaling: scaling)
  }
}
