public import LMoEExperts

/// What a run trains: experts, a gate or both, in a bundle or begun anew; all else stays as it is.
public struct TrainingPlan: Sendable {
  /// What weighs the experts while they are trained.
  public enum Decider: Sendable {
    /// A gate of the bundle.
    case gate(String)
    /// A gate that is begun anew under this name, for all experts of the bundle and those begun anew.
    case newGate(String, Gate, hasNull: Bool, always: [String])
    /// Nobody: every expert of the bundle, and those begun anew, with equal weights.
    case uniform
    /// Nobody: this expert alone, with weight 1.
    case expert(String)
  }

  /// What weighs the experts.
  public var decider: Decider
  /// Whether the gate is trained.
  public var trainsGate: Bool
  /// The names of experts that are trained; those begun anew always are.
  public var experts: [String]
  /// Experts that are begun anew.
  public var newExperts: [NewExpert]
  /// The experts of the bundle that take part beside those begun anew, where no gate says so; nil for all.
  public var members: [String]?
  /// What new experts and gates are drawn from.
  public var seed: UInt64
  /// Whether activations are computed again on the way back instead of kept.
  public var recomputes = false

  /// Makes a plan.
  public init(
    _ decider: Decider, trainsGate: Bool, experts: [String] = [], newExperts: [NewExpert] = [],
    seed: UInt64 = 0
  ) {
    (self.decider, self.trainsGate, self.experts) = (decider, trainsGate, experts)
    (self.newExperts, self.seed) = (newExperts, seed)
  }
}
