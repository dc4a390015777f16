public import LMoECore
import LMoEFormat

/// What a training run made, to be published in one generation of a bundle.
public struct TrainedWeights: Sendable {
  /// New values of an expert.
  public struct Expert: Sendable {
    /// The expert's name.
    public let name: String
    /// Those of its tensors that were trained, by the names and shapes that they have in its bank: factors,
    /// biases of B, magnitudes.
    public let tensors: [FloatTensor]

    /// Pairs them.
    public init(_ name: String, tensors: [FloatTensor]) {
      (self.name, self.tensors) = (name, tensors)
    }
  }

  /// An expert that was not there before, and its values.
  public struct Addition: Sendable {
    /// What it is.
    public let expert: NewExpert
    /// The values of all its tensors.
    public let tensors: [FloatTensor]

    /// Pairs them.
    public init(_ expert: NewExpert, tensors: [FloatTensor]) {
      (self.expert, self.tensors) = (expert, tensors)
    }
  }

  /// New numbers of a gate.
  public struct GateValues: Sendable {
    /// What they are.
    public enum Numbers: Sendable {
      /// Rows of a learned gate; those that are not given stay.
      case rows(Gate.Rows)
      /// Weights of a constant gate that lists them; those that are not given stay.
      case weights([Gate.Weight])
    }

    /// The gate's name.
    public let name: String
    /// Its numbers.
    public let numbers: Numbers

    /// Pairs them.
    public init(_ name: String, _ numbers: Numbers) { (self.name, self.numbers) = (name, numbers) }
  }

  /// A gate that was not there before.
  public struct GateAddition: Sendable {
    /// Its name.
    public let name: String
    /// What it is.
    public let gate: NewGate
    /// Whether a gate of that name gives way to it.
    public let replaces: Bool

    /// Puts them together.
    public init(_ name: String, _ gate: NewGate, replaces: Bool = false) {
      (self.name, self.gate, self.replaces) = (name, gate, replaces)
    }
  }

  /// Experts with new values.
  public var experts: [Expert] = []
  /// Experts that are new.
  public var newExperts: [Addition] = []
  /// Gates with new numbers.
  public var gates: [GateValues] = []
  /// Gates that are new.
  public var newGates: [GateAddition] = []
  /// How they were trained: the fields of registry §5.5 that the run knows, and any others.
  public var record: JSON

  /// Nothing yet.
  ///
  /// - Parameter record: How they were trained: an object.
  public init(record: JSON) { self.record = record }

  /// The full names of all banks that it is about.
  public var banks: [String] {
    gates.map { "gate/" + $0.name } + newGates.map { "gate/" + $0.name }
      + experts.map { "expert/" + $0.name } + newExperts.map { "expert/" + $0.expert.name }
  }

  /// What `history` says of it.
  var note: String {
    let steps = record["step"]?.int.map { " (\($0) step\($0 == 1 ? "" : "s"))" } ?? ""
    return "train \(banks.joined(separator: ", "))\(steps)"
  }

  /// The record as cards have it.
  func card(clock: UInt64) -> JSON {
    var object = record.object ?? JSONObject()
    object["trained"] = .array(banks.map(JSON.string))
    object["made_ns"] = .integer(clock)
    object["tool"] = .string(toolName)
    return .object(object)
  }
}
