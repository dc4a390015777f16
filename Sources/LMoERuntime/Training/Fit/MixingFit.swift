import LMoECore
import LMoEExperts
import LMoEFormat

/// Looks for weights of experts, the same for every token, with which a few texts cost least: Σ wᵢ·Δᵢ, each expert's B
/// meeting its own A.
///
/// One thread at a time uses it.
public final class MixingFit {
  /// For what a weight is.
  public enum Scope: String, CaseIterable, Sendable {
    /// One for each expert in each layer, as LoRA Soups (CAT) has it.
    case layer
    /// One for each expert.
    case global
  }

  /// How the weights are found.
  public enum Method: String, CaseIterable, Sendable {
    /// By the gradient of the loss.
    case gradient
    /// By trying, as LoraHub does.
    case search
  }

  /// For what the weights are.
  public let scope: Scope
  /// The names of the experts.
  public let experts: [String]
  /// The names of the places, in the order of the model: layers, or `global`.
  public let places: [String]
  let training: TrainingModel
  let documents: [TrainingModel.Document]
  private let samples: [Evaluation.Sample]
  private let ids: [Bits128]
  private let columns: [String]

  /// What was found.
  public struct Result: Sendable {
    /// The experts' names, as the weights are ordered.
    public let experts: [String]
    /// The places, as the weights are ordered.
    public let places: [String]
    /// Weights by place and expert; nil for an expert that changes nothing there.
    public let weights: [[Double?]]
    /// What a token of the texts cost with equal weights, in nats.
    public let before: Double
    /// What it costs with these.
    public let after: Double
    /// Steps that were taken, or weights that were tried.
    public let steps: Int
    let scope: Scope
    let ids: [Bits128]

    /// The mean weight of each expert over the places where it changes something.
    public var means: [Double] {
      experts.indices.map { expert in
        let own = weights.compactMap { $0[expert] }
        return own.isEmpty ? 0 : own.reduce(0, +) / Double(own.count)
      }
    }
  }

  /// Loads experts and texts.
  ///
  /// - Parameters:
  ///   - names: The experts.
  ///   - samples: The texts.
  ///   - context: The longest part that goes through at once.
  /// - Throws: `RuntimeError` with `no-such-expert`, `not-mixable` or `invalid-data` for texts without anything to
  ///   predict; `ExpertError`, `FormatError`.
  public init(
    _ base: LoadedBase, experts names: [String], scope: Scope, samples: [Evaluation.Sample], context: Int
  ) throws {
    let bundle = base.bundle
    guard !names.isEmpty else { throw RuntimeError(.noExperts, path: bundle.path) }
    let records = try names.map {
      try Mixture.mixable(ExpertRecord($0, in: bundle, base: base.description), bundle)
    }
    documents = samples.flatMap { $0.parts(context: context) }.map {
      TrainingModel.Document(tokens: $0.tokens, isTarget: $0.isTarget)
    }
    guard !documents.isEmpty else {
      throw RuntimeError(
        .invalidData, path: bundle.path, found: "the texts have no token that could be predicted")
    }
    let layers = base.description.model.layerCount
    let places = scope == .global ? [Gate.globalPlace] : (0..<layers).map { "model.layers.\($0)" }
    // What changes nothing at a place has no number there; the null expert is not among them.
    let start = 1 / Double(records.count)
    let routing = GateRouting(
      constant: records.map { Gate.Weight(expert: $0.id, value: start) }, normaliser: .none,
      scope: scope == .global ? .global : .layer, at: places)
    (self.scope, experts, ids, self.samples) = (scope, names, records.map(\.id), samples)
    self.places = places
    let mixture = Mixture.routed(records, routing, hasNull: false, name: "fit", bundle.path)
    let model = try Model(
      base, selection: .weights(names.map { Selection.WeightedExpert($0, start) }), mixture: mixture,
      experts: LoadedExperts(records, in: bundle, on: base.pool), compute: Compute(pool: base.pool))
    columns = model.gateColumns
    try model.requireTokens(documents.lazy.flatMap(\.tokens))
    training = TrainingModel(model, trainsGate: true)
    training.routing = routing
    acting = records.map { record in
      scope == .global
        ? [true]
        : places.map { place in
          record.modules.keys.contains { $0.text.utf8.starts(with: (place + ".").utf8) }
        }
    }
    self.context = context
  }

  private let context: Int
  /// Whether each expert changes anything at each place.
  private let acting: [[Bool]]

  /// The weights as they are, by parameter: of each place, in the order of the gate's members.
  var vector: [Double] {
    get { training.parameters.flatMap { $0.values.array(0).map(Double.init) } }
    set {
      var next = newValue.makeIterator()
      for parameter in training.parameters {
        for column in 0..<parameter.values.width { parameter.values[0, column] = Float(next.next() ?? 0) }
      }
    }
  }

  /// What a token of all texts costs with the weights as they are.
  func loss(_ progress: (Int) -> Void = { _ in }) throws -> Double {
    try Evaluation.of(samples, by: training.model, context: context, progress: progress).natsPerToken
  }

  /// The weights by place and expert.
  func result(before: Double, after: Double, steps: Int) -> Result {
    let weights = zip(places.indices, training.gates).map { place, gate in
      let values = gate.terms?.values.array(0) ?? []
      var row = [Double?](repeating: nil, count: experts.count)
      for (index, column) in gate.gate.routed.enumerated() where acting[column][place] {
        row[column] = Double(values[index])
      }
      return row
    }
    return Result(
      experts: experts, places: places, weights: weights, before: before, after: after, steps: steps,
      scope: scope, ids: ids)
  }
}
