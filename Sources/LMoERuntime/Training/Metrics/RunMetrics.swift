public import LMoECore

/// What a run trains, and on what.
public struct RunMetrics: Hashable, Sendable {
  /// What may be trained.
  public enum Part: String, Hashable, Sendable { case both, gate, experts }

  /// An expert that takes part.
  public struct Expert: Hashable, Sendable {
    /// Its name.
    public let name: String
    /// Its largest rank.
    public let rank: Int
    /// The number of its parameters.
    public let parameters: Int
    /// Whether the run made it.
    public let isNew: Bool
    /// Whether it is trained.
    public let isTrained: Bool

    /// Makes a description of an expert.
    public init(name: String, rank: Int, parameters: Int, isNew: Bool, isTrained: Bool) {
      (self.name, self.rank, self.parameters) = (name, rank, parameters)
      (self.isNew, self.isTrained) = (isNew, isTrained)
    }
  }

  /// The gate that weighs the experts.
  public struct Gate: Hashable, Sendable {
    /// Its name.
    public var name: String
    /// How it scores: `linear`.
    public var score: String
    /// Where it decides: `module`, `layer` or `global`.
    public var scope: String
    /// How scores become weights: `softmax`.
    public var normaliser: String
    /// How many experts a token has, for the top-k normalisers.
    public var k: Int?
    /// The temperature.
    public var temperature: Double
    /// The number of its parameters.
    public var parameters: Int
    /// Whether it is trained.
    public var isTrained: Bool
    /// Whether the run made it.
    public var isNew: Bool

    /// Makes a description of a gate.
    public init(
      name: String, score: String, scope: String, normaliser: String, k: Int?, temperature: Double,
      parameters: Int, isTrained: Bool, isNew: Bool
    ) {
      (self.name, self.score, self.scope, self.normaliser) = (name, score, scope, normaliser)
      (self.k, self.temperature, self.parameters) = (k, temperature, parameters)
      (self.isTrained, self.isNew) = (isTrained, isNew)
    }
  }

  /// An option of the run.
  public struct Option: Hashable, Sendable {
    /// Its name.
    public let name: String
    /// Its value, as JSON.
    public let value: String

    /// Makes an option of a JSON value.
    public init(_ name: String, _ value: JSON) { (self.name, self.value) = (name, value.serialized()) }
  }

  /// When it began, as a reader is to see it.
  public var time: String
  /// The bundle.
  public var bundle: String
  /// What may be trained.
  public var trains: Part
  /// The experts that take part.
  public var experts: [Expert]
  /// The gate, if one weighs them.
  public var gate: Gate?
  /// The kinds of text that are evaluated.
  public var domains: [String]
  /// The names of what is weighed, in the order of weights; "" for the null expert.
  public var columns: [String]
  /// Where it is decided, in the order of weights.
  public var places: [String]
  /// The options, by name.
  public var options: [Option]
  /// How many steps it is to have, if that is known.
  public var steps: Int?

  /// Makes a description of a run.
  public init(
    time: String, bundle: String, trains: Part, experts: [Expert], gate: Gate?, domains: [String],
    columns: [String], places: [String], options: [Option], steps: Int?
  ) {
    (self.time, self.bundle, self.trains, self.experts, self.gate) = (time, bundle, trains, experts, gate)
    (self.domains, self.columns, self.places) = (domains, columns, places)
    (self.options, self.steps) = (options, steps)
  }
}
