import LMoECore

/// A step of the optimiser.
public struct StepMetrics: Hashable, Sendable {
  /// Which one, counted from 1.
  public var step: Int
  /// The tokens that the model has read since the run began.
  public var tokens: Int
  /// The tokens among them that were scored.
  public var targets: Int
  /// The seconds of work since the run began, without those between an interruption and going on.
  public var seconds: Double
  /// The mean loss of the step's targets, in nats, without what is added to it.
  public var loss: Double
  /// What is added to the loss, without its weight: `balance`, `z`, …; only what is in use.
  public var auxiliary: [MetricValue]
  /// The gradient's norm before it is clipped.
  public var gradientNorm: Double
  /// The learning rates: `gate`, `a`, `b`.
  public var rates: [MetricValue]
  /// The tokens read in a second of this step.
  public var tokensPerSecond: Double
  /// The mean weight of each column, over tokens and places; empty without a gate.
  public var use: [Float]
  /// The mean of the weights' entropy as a part of the largest possible one; nil without a gate.
  public var entropy: Double?

  /// Makes the metrics of a step.
  public init(
    step: Int, tokens: Int, targets: Int, seconds: Double, loss: Double, auxiliary: [MetricValue] = [],
    gradientNorm: Double, rates: [MetricValue], tokensPerSecond: Double, use: [Float] = [],
    entropy: Double? = nil
  ) {
    (self.step, self.tokens, self.targets, self.seconds) = (step, tokens, targets, seconds)
    (self.loss, self.auxiliary, self.gradientNorm, self.rates) = (loss, auxiliary, gradientNorm, rates)
    (self.tokensPerSecond, self.use, self.entropy) = (tokensPerSecond, use, entropy)
  }
}

extension StepMetrics {
  var json: JSON {
    var members: [(String, JSON)] = [
      ("kind", "step"), ("step", .integer(step)), ("tokens", .integer(tokens)),
      ("targets", .integer(targets)), ("seconds", .metric(seconds)), ("loss", .metric(loss)),
    ]
    if !auxiliary.isEmpty { members.append(("auxiliary", .metrics(auxiliary))) }
    members += [
      ("gradientNorm", .metric(gradientNorm)), ("rates", .metrics(rates)),
      ("tokensPerSecond", .metric(tokensPerSecond)),
    ]
    if !use.isEmpty { members.append(("use", .array(use.map { .weight($0) }))) }
    if let entropy { members.append(("entropy", .metric(entropy))) }
    return .object(members)
  }

  init(_ fields: MetricsFields) throws(MetricsProblem) {
    let entropy = try fields.number("entropy")
    self.init(
      step: try fields.count("step"), tokens: try fields.optionalCount("tokens") ?? 0,
      targets: try fields.optionalCount("targets") ?? 0, seconds: try fields.number("seconds"),
      loss: try fields.number("loss"), auxiliary: try fields.values("auxiliary"),
      gradientNorm: try fields.number("gradientNorm"), rates: try fields.values("rates"),
      tokensPerSecond: try fields.number("tokensPerSecond"), use: try fields.numbers("use"),
      entropy: entropy.isNaN ? nil : entropy)
  }
}
