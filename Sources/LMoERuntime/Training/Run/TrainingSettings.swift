/// How a run trains what its plan says.
public struct TrainingSettings: Hashable, Sendable {
  /// When a run is over.
  public enum Budget: Hashable, Sendable {
    /// After so many steps.
    case steps(Int)
    /// When the model has read so many tokens.
    case tokens(Int)
    /// When as many documents were drawn as there are, so many times.
    case epochs(Double)
  }

  /// When it is over.
  public var budget: Budget
  /// Tokens that go through the model together, at most; a single longer sequence does too.
  public var tokensPerPass = 2048
  /// Passes whose gradients make one step.
  public var passesPerStep = 1
  /// The peak rates.
  public var rates: AdamW.Rates
  /// The curve of the rates.
  public var shape = Schedule.Shape.cosine
  /// Steps in which they rise.
  public var rateWarmup = 0
  /// What is left of them at the end, as a share of the peak.
  public var rateFloor = 0.0
  /// The optimizer's own.
  public var optimizer = AdamW.Settings()
  /// What gates are trained by besides.
  public var losses = AuxiliaryLosses()
  /// The share of the adapters' inputs that is dropped.
  public var dropout = 0.0
  /// Steps in which documents whose kind is the name of an expert go to that expert, and the gate learns to say so.
  public var supervisedSteps = 0
  /// Steps between evaluations; nil for none but at the end.
  public var evaluationInterval: Int?
  /// Evaluations without a better one after which the run stops early; nil for never.
  public var patience: Int?
  /// The longest text that is evaluated in one piece.
  public var context: Int
  /// What dropout masks are drawn from.
  public var seed: UInt64 = 0

  /// The settings that have no default.
  public init(budget: Budget, rates: AdamW.Rates, context: Int) {
    (self.budget, self.rates, self.context) = (budget, rates, context)
  }
}
