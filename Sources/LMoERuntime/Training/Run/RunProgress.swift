public import LMoECore

/// How far a run has come.
public struct RunProgress: Hashable, Sendable {
  /// Steps that were taken.
  public internal(set) var step = 0
  /// Tokens that the model has read.
  public internal(set) var tokens = 0
  /// Those of them that it had to predict.
  public internal(set) var targets = 0
  /// Seconds of work.
  public internal(set) var seconds = 0.0
  /// The best evaluation.
  public internal(set) var best: Best?
  /// How many have come since.
  public internal(set) var evaluationsSinceBest = 0
  /// The step after which the last evaluation was; nil before the first.
  public internal(set) var lastEvaluation: Int?

  /// An evaluation.
  public struct Best: Hashable, Sendable {
    /// After which step.
    public let step: Int
    /// What a token cost.
    public let nats: Double
  }

  /// The beginning.
  public init() {}

  /// As JSON.
  public var json: JSON {
    var members: [(String, JSON)] = [
      ("step", .integer(step)), ("tokens", .integer(tokens)), ("targets", .integer(targets)),
      ("seconds", .double(seconds)), ("evaluations_since_best", .integer(evaluationsSinceBest)),
    ]
    if let lastEvaluation { members.append(("last_evaluation", .integer(lastEvaluation))) }
    if let best { members.append(("best", ["step": .integer(best.step), "nats": .double(best.nats)])) }
    return .object(members)
  }

  /// Reads what `json` gives; nil for what is none.
  public init?(_ json: JSON?) {
    guard let json, let step = json["step"]?.int, let tokens = json["tokens"]?.int,
      let targets = json["targets"]?.int, let seconds = json["seconds"]?.double,
      let since = json["evaluations_since_best"]?.int
    else { return nil }
    (self.step, self.tokens, self.targets, self.seconds) = (step, tokens, targets, seconds)
    evaluationsSinceBest = since
    lastEvaluation = json["last_evaluation"]?.int
    if let item = json["best"], let step = item["step"]?.int, let nats = item["nats"]?.double {
      best = Best(step: step, nats: nats)
    }
  }
}
