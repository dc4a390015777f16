import LMoECore
import LMoEExperts
import LMoEFormat

/// A training run: a model, texts, an optimizer, and how far it has come.
///
/// One thread at a time uses it. With the same plan, settings and data, and as many workers, it gives the same
/// bits, however often it is interrupted and goes on.
public final class TrainingRun {
  /// What is trained.
  public let plan: TrainingPlan
  /// How.
  public let settings: TrainingSettings
  /// The model in training.
  public let model: TrainingModel
  /// The texts.
  public let stream: TrainingStream
  /// Texts to evaluate it with.
  public let heldOut: HeldOut?
  /// How far it has come.
  public internal(set) var progress = RunProgress()
  var warnings = TrainingWarnings()
  let optimizer: AdamW

  /// Puts a run together.
  ///
  /// - Throws: `RuntimeError` with `untrainable` where nothing could be learned; what making the model throws.
  public init(
    _ plan: TrainingPlan, _ settings: TrainingSettings, on base: LoadedBase, stream: TrainingStream,
    heldOut: HeldOut? = nil
  ) throws {
    (self.plan, self.settings, self.stream, self.heldOut) = (plan, settings, stream, heldOut)
    model = try TrainingModel(plan, on: base)
    optimizer = AdamW(model.parameters, settings: settings.optimizer, compute: model.model.compute)
    try model.requireTrainable()
    warnings.begin(model)
  }

  /// Whether the budget is spent, or evaluations no longer get better.
  public var isDone: Bool { isStoppedEarly || done >= 1 }

  /// Whether evaluations have not got better for too long.
  public var isStoppedEarly: Bool {
    settings.patience.map { heldOut != nil && progress.evaluationsSinceBest >= $0 } ?? false
  }

  /// The part of the budget that is spent.
  public var done: Double {
    switch settings.budget {
    case .steps(let steps): Double(progress.step) / Double(max(1, steps))
    case .tokens(let tokens): Double(progress.tokens) / Double(max(1, tokens))
    case .epochs(let epochs): epochs > 0 ? stream.epoch / epochs : 1
    }
  }

  /// All steps, where the budget says so.
  public var totalSteps: Int? { if case .steps(let steps) = settings.budget { steps } else { nil } }

  /// The rates of the next step.
  public var rates: AdamW.Rates {
    let factor: Double
    if let totalSteps {
      factor = Schedule(
        settings.shape, warmup: settings.rateWarmup, total: totalSteps, floor: settings.rateFloor
      ).factor(at: progress.step)
    } else {
      // The number of steps is not known before: the curve follows what is spent.
      factor = Schedule(
        settings.shape, warmup: settings.rateWarmup, total: settings.rateWarmup + 1_000_000,
        floor: settings.rateFloor
      ).factor(
        at: progress.step < settings.rateWarmup
          ? progress.step : settings.rateWarmup + Int(min(1, done) * 1_000_000))
    }
    return settings.rates * factor
  }

  /// What the user should know since this was last asked.
  public func takeWarnings() -> [String] { warnings.take() }

  /// Takes a step.
  ///
  /// - Throws: `RuntimeError` with `diverged` if the loss or a gradient is not finite, or with
  ///   `token-out-of-range`; what reading the texts throws. Nothing was changed then.
  public func step() throws -> StepMetrics {
    let place = stream.place
    do {
      return try takeStep()
    } catch {
      stream.place = place
      model.clearGradients()
      throw error
    }
  }

  private func takeStep() throws -> StepMetrics {
    let start = monotonicNanoseconds()
    let passes = try (0..<settings.passesPerStep).map { _ in
      try stream.next(tokens: settings.tokensPerPass).map(document)
    }
    let all = passes.flatMap(\.self)
    try model.model.requireTokens(all.lazy.flatMap(\.tokens))
    var pass = TrainingModel.PassSettings(
      targets: all.reduce(0) { $0 + $1.isTarget.count { $0 } },
      rows: all.reduce(0) { $0 + $1.tokens.count })
    pass.losses = settings.losses
    pass.isSupervised = progress.step < settings.supervisedSteps
    pass.labelled = pass.isSupervised ? model.labelled(all) : 0
    pass.dropout = Float(settings.dropout)
    var nats = 0.0
    var statistics = RoutingStatistics()
    for (index, documents) in passes.enumerated() {
      pass.dropoutKey = maskKey(pass: index)
      let result = model.run(documents, pass)
      nats += result.nats
      statistics.add(result.statistics)
    }
    let norm = optimizer.gradientNorm
    guard nats.isFinite, norm.isFinite else { throw diverged(nats) }
    let rates = rates
    warnings.look(at: model, step: progress.step, isSupervised: pass.isSupervised)
    optimizer.step(rates, norm: norm)
    model.clearGradients()
    model.refresh()
    let seconds = Double(monotonicNanoseconds() - start) * 1e-9
    progress.step += 1
    progress.tokens += pass.rows
    progress.targets += pass.targets
    progress.seconds += seconds
    let metrics = metrics(nats / Double(max(1, pass.targets)), norm, rates, statistics, pass, seconds)
    warnings.look(at: metrics, columns: model.model.gateColumns)
    return metrics
  }

  private func document(_ sequence: TrainingSequence) -> TrainingModel.Document {
    TrainingModel.Document(
      tokens: sequence.tokens, isTarget: sequence.isTarget,
      label: model.gates.isEmpty
        ? nil : model.model.gateColumns.firstIndex { $0.hasSameBytes(as: sequence.domain) })
  }

  /// Depends on the seed, the step and the pass, so that a run that goes on has the same masks.
  private func maskKey(pass: Int) -> UInt64 {
    var source = RandomSource(
      seed: settings.seed ^ UInt64(progress.step * settings.passesPerStep + pass) &* 0xD134_2543_DE82_EF95)
    return source.next()
  }

  private func diverged(_ nats: Double) -> RuntimeError {
    let base = model.model.base
    let source = base.firstNonFinite()
    return RuntimeError(
      source == nil ? .diverged : .nonFinite, path: base.bundle.path, name: source?.tensor,
      expected: source.map { "\($0.element)" },
      found: source == nil ? "\(progress.step + 1)" : nil)
  }

  private func metrics(
    _ loss: Double, _ norm: Double, _ rates: AdamW.Rates, _ statistics: RoutingStatistics,
    _ pass: TrainingModel.PassSettings, _ seconds: Double
  ) -> StepMetrics {
    var auxiliary: [MetricValue] = []
    let values = statistics.auxiliary
    if settings.losses.balance != 0 { auxiliary.append(MetricValue("balance", values.balance)) }
    if settings.losses.z != 0 { auxiliary.append(MetricValue("z", values.z)) }
    if settings.losses.mutualInformation != 0 {
      auxiliary.append(MetricValue("mutual-information", values.mutualInformation))
    }
    if pass.isSupervised { auxiliary.append(MetricValue("supervised", values.supervised)) }
    let rows = Double(max(1, statistics.rows))
    let decides = model.routing != nil
    return StepMetrics(
      step: progress.step, tokens: progress.tokens, targets: progress.targets, seconds: progress.seconds,
      loss: loss, auxiliary: auxiliary, gradientNorm: norm,
      rates: [MetricValue("gate", rates.gate), MetricValue("a", rates.a), MetricValue("b", rates.b)],
      tokensPerSecond: Double(pass.rows) / max(seconds, 1e-9),
      use: decides ? statistics.weights.map { Float($0 / rows) } : [],
      entropy: decides ? statistics.entropy / rows : nil)
  }
}
