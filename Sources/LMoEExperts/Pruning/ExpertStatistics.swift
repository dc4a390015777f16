public import LMoECore

/// What a model made of its experts on texts: measured by whoever runs it, judged here.
public struct ExpertStatistics: Sendable {
  /// One expert of the bundle.
  public struct Expert: Hashable, Sendable {
    /// Its id.
    public let id: Bits128
    /// Its name.
    public let name: String
    /// Whether the gate has it on with weight 1 everywhere, so that it is no choice.
    public let isAlwaysOn: Bool
    /// Whether the gate knows it.
    public let takesPart: Bool
    /// Σ|g| over tokens and places, as a share of that of all who take part, the null expert among them.
    public let use: Double
    /// The mean of |g|·‖s·B(A·x)‖₂ over the tokens that were routed to it, summed over the modules.
    public let saliency: Double
    /// What a token would cost more, in nats, if the expert left and the gate shared out its weight; nil where
    /// nobody looked.
    public var lossChange: Double?

    /// Puts the numbers together.
    public init(
      id: Bits128, name: String, isAlwaysOn: Bool = false, takesPart: Bool = true, use: Double,
      saliency: Double, lossChange: Double? = nil
    ) {
      (self.id, self.name, self.isAlwaysOn, self.takesPart) = (id, name, isAlwaysOn, takesPart)
      (self.use, self.saliency, self.lossChange) = (use, saliency, lossChange)
    }
  }

  /// The experts in the order of their names.
  public let experts: [Expert]
  /// The null expert's share of Σ|g|; nil where the bare base is no choice.
  public let nullUse: Double?
  /// Tokens that went through the model.
  public let tokens: Int
  /// What a token cost with all experts, in nats.
  public let nats: Double

  /// Puts the numbers together.
  public init(experts: [Expert], nullUse: Double?, tokens: Int, nats: Double) {
    (self.experts, self.nullUse, self.tokens, self.nats) = (experts, nullUse, tokens, nats)
  }

  /// The expert of that id.
  public subscript(id: Bits128) -> Expert? { experts.first { $0.id == id } }
}
