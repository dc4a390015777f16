import LMoECore
import LMoEExperts

/// Training steps on random tokens, as a run takes them, to be timed.
///
/// One thread at a time uses it.
public final class TrainingMeasurement {
  /// The model in training.
  public let model: TrainingModel
  /// The tokens of a step.
  public let tokens: Int
  /// Multiplications of matrices, each with an addition, that a step cannot avoid, by stage.
  public let multiplications: [StageTimer.Stage: Int]
  private let optimizer: AdamW
  private let documents: [TrainingModel.Document]
  private let settings: TrainingModel.PassSettings
  private let timer = StageTimer()

  /// What a step took.
  public struct Step: Sendable {
    /// Seconds in all.
    public let seconds: Double
    /// Seconds of each stage.
    public let stages: [StageTimer.Stage: Double]
    /// What a target cost before the step, in nats.
    public let loss: Double
  }

  /// Puts a model together whose experts all change something: B is random where a new expert has zeros.
  ///
  /// - Parameters:
  ///   - plan: What is trained.
  ///   - base: The base.
  ///   - documents: Texts in a step.
  ///   - length: Tokens of each; all but its first are targets.
  /// - Throws: What making the model throws.
  public init(_ plan: TrainingPlan, on base: LoadedBase, documents: Int, length: Int) throws {
    model = try TrainingModel(plan, on: base)
    try model.requireTrainable()
    var random = RandomSource(seed: plan.seed)
    for parameter in model.parameters where parameter.role == .b {
      for row in 0..<parameter.values.count {
        for column in 0..<parameter.values.width {
          parameter.values[row, column] = Float(0.02 * (2 * random.uniform() - 1))
        }
      }
    }
    model.refresh()
    optimizer = AdamW(model.parameters, settings: AdamW.Settings(), compute: model.model.compute)
    let vocabulary = model.model.configuration.vocabularySize
    self.documents = (0..<documents).map { _ in
      TrainingModel.Document(
        tokens: (0..<length).map { _ in Int.random(in: 0..<vocabulary, using: &random) },
        isTarget: (0..<length).map { $0 > 0 })
    }
    tokens = documents * length
    settings = TrainingModel.PassSettings(targets: documents * (length - 1), rows: tokens)
    multiplications = model.multiplications(
      documents: self.documents.map(\.tokens.count), targets: settings.targets)
  }

  /// The number of parameters that are trained.
  public var parameterCount: Int { model.parameters.reduce(0) { $0 + $1.count } }

  /// Takes a step.
  public func step() -> Step {
    let compute = model.model.compute
    compute.timer = timer
    defer { compute.timer = nil }
    timer.reset()
    let start = monotonicNanoseconds()
    let result = model.run(documents, settings)
    compute.timed(.optimizer) {
      let norm = optimizer.gradientNorm
      optimizer.step(AdamW.Rates(gate: 1e-4, a: 1e-4, b: 1e-4), norm: norm)
      model.clearGradients()
      model.refresh()
    }
    let seconds = Double(monotonicNanoseconds() - start) * 1e-9
    timer.stop()
    return Step(
      seconds: seconds, stages: timer.seconds, loss: result.nats / Double(max(1, settings.targets)))
  }
}
