public import LMoECore

/// A line of the metrics file that a training run appends to (JSON lines, schema 1).
public enum MetricsLine: Hashable, Sendable {
  /// What is trained, and on what: the first line.
  case run(RunMetrics)
  /// A step of the optimiser.
  case step(StepMetrics)
  /// What held-out texts cost.
  case evaluation(EvaluationMetrics)
  /// Something that happened.
  case event(EventMetrics)

  /// The schema that is written, and the only one that is read.
  static let schema = 1

  /// The step after which it was written; 0 for the run itself.
  public var step: Int {
    switch self {
    case .run: 0
    case .step(let step): step.step
    case .evaluation(let evaluation): evaluation.step
    case .event(let event): event.step
    }
  }

  /// The line as JSON.
  ///
  /// Numbers have the seven digits of a `Float`, weights of experts four decimals; what is not finite is null.
  public var json: JSON {
    switch self {
    case .run(let run): run.json
    case .step(let step): step.json
    case .evaluation(let evaluation): evaluation.json
    case .event(let event): event.json
    }
  }

  /// Reads a line; nil if it is of a kind that is not known.
  init?(_ json: JSON) throws(MetricsProblem) {
    let fields = try MetricsFields(json)
    switch try fields.text("kind") {
    case "run": self = .run(try RunMetrics(fields))
    case "step": self = .step(try StepMetrics(fields))
    case "evaluation": self = .evaluation(try EvaluationMetrics(fields))
    case let kind:
      guard let kind = EventMetrics.Kind(rawValue: kind) else { return nil }
      self = .event(try EventMetrics(kind, fields))
    }
  }
}
