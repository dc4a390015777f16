import LMoECore

/// Something that happened in a run.
public struct EventMetrics: Hashable, Sendable {
  /// What happened.
  public enum Kind: String, Hashable, Sendable, CaseIterable {
    /// The state was saved.
    case checkpoint
    /// The run went on from a saved state.
    case resumed
    /// What was trained was written into the bundle.
    case published
    /// Something that the user should know.
    case warning
    /// The run ended.
    case end
  }

  /// What happened.
  public var kind: Kind
  /// After which step.
  public var step: Int
  /// A sentence about it; may be empty.
  public var message: String

  /// Makes an event.
  public init(_ kind: Kind, step: Int, message: String = "") {
    (self.kind, self.step, self.message) = (kind, step, message)
  }
}

extension EventMetrics {
  var json: JSON {
    ["kind": .string(kind.rawValue), "step": .integer(step), "message": .string(message)]
  }

  init(_ kind: Kind, _ fields: MetricsFields) throws(MetricsProblem) {
    self.init(kind, step: try fields.count("step"), message: try fields.optionalText("message") ?? "")
  }
}
