import LMoECore

/// What held-out texts cost after some step.
public struct EvaluationMetrics: Hashable, Sendable {
  /// One kind of text.
  public struct Domain: Hashable, Sendable {
    /// Its name.
    public let domain: String
    /// What a token of it costs.
    public let nats: Double
    /// The tokens that were scored.
    public let tokens: Int
    /// The mean weight of each column at each place: place by place; empty without a gate.
    public let weights: [[Float]]

    /// Makes the result of one kind of text.
    public init(domain: String, nats: Double, tokens: Int, weights: [[Float]] = []) {
      (self.domain, self.nats, self.tokens, self.weights) = (domain, nats, tokens, weights)
    }
  }

  /// The step after which it was made; 0 before the first one.
  public var step: Int
  /// The tokens that were scored, over all domains.
  public var tokens: Int
  /// What a token costs, over all domains.
  public var nats: Double
  /// Whether no earlier one was better.
  public var isBest: Bool
  /// The kinds of text.
  public var domains: [Domain]

  /// Makes the metrics of an evaluation.
  public init(step: Int, tokens: Int, nats: Double, isBest: Bool, domains: [Domain]) {
    (self.step, self.tokens, self.nats) = (step, tokens, nats)
    (self.isBest, self.domains) = (isBest, domains)
  }
}

extension EvaluationMetrics {
  var json: JSON {
    [
      "kind": "evaluation", "step": .integer(step), "tokens": .integer(tokens), "nats": .metric(nats),
      "isBest": .bool(isBest),
      "domains": .array(
        domains.map { domain in
          [
            "domain": .string(domain.domain), "nats": .metric(domain.nats), "tokens": .integer(domain.tokens),
            "weights": .array(domain.weights.map { .array($0.map { .weight($0) }) }),
          ]
        }),
    ]
  }

  init(_ fields: MetricsFields) throws(MetricsProblem) {
    var domains: [Domain] = []
    for fields in try fields.objects("domains") {
      domains.append(
        Domain(
          domain: try fields.text("domain"), nats: try fields.number("nats"),
          tokens: try fields.optionalCount("tokens") ?? 0, weights: try fields.rows("weights")))
    }
    self.init(
      step: try fields.count("step"), tokens: try fields.optionalCount("tokens") ?? 0,
      nats: try fields.number("nats"), isBest: try fields.flag("isBest"), domains: domains)
  }
}
