import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

@testable import LMoERuntime

import class LMoEFormat.Bundle

/// A small training run on the embedded model, which can be begun as often as wanted.
struct TrainingCourse: CustomTestStringConvertible {
  let name: String
  var testDescription: String { name }
  /// The experts of the bundle.
  var experts = ["sql", "verse"]
  var decider: TrainingPlan.Decider
  var trainsGate = false
  /// Those that are trained, and those that are begun.
  var trained: [String] = []
  var begun: [String] = []
  /// The experts of the bundle that take part; all if nil.
  var members: [String]?
  /// How often texts of each kind come; by their number if nil.
  var weights: [Double]?
  var recomputes = false
  var settings: TrainingSettings = {
    var settings = TrainingSettings(
      budget: .steps(8), rates: AdamW.Rates(gate: 0.01, a: 0.003, b: 0.006), context: 64)
    (settings.tokensPerPass, settings.rateWarmup, settings.seed) = (128, 2, 5)
    return settings
  }()

  /// What stays the same however often the run is begun.
  struct Ground {
    let bundle: Bundle
    /// The same for one worker and for two.
    let bases: [LoadedBase]

    init(_ bundle: Bundle) throws {
      self.bundle = bundle
      bases = try Self.pools.map { try LoadedBase(bundle, on: $0) }
    }

    /// The ids of experts that are begun.
    let ids = (0..<2).map { Bits128(high: 7, low: UInt64($0)) }

    static let pools = (1...2).map { WorkerPool(count: $0) }
  }

  func ground(_ fixture: RuntimeFixture) throws -> Ground {
    let bundle = try fixture.bundle(
      base: "embedded/base", experts: experts.map { ($0, "embedded/" + $0) }, codec: .raw)
    let writer = try BundleWriter(appendingTo: bundle.path)
    try writer.addGate(
      NewGate.random(in: bundle, scope: .layer, normaliser: .topKRenormalised(2), seed: 3, deviation: 1),
      named: "stored")
    try writer.commit(note: "test")
    return try Ground(Bundle(path: bundle.path))
  }

  /// Begins the run.
  func run(on ground: Ground, workers: Int = 2, seed: UInt64? = nil) throws -> TrainingRun {
    let base = ground.bases[workers - 1]
    let new = try zip(begun, ground.ids).map { name, id in
      try NewExpert(name, id: id, rank: 3, alpha: 6, targets: ["q_proj", "up_proj"], on: base.description)
    }
    var plan = TrainingPlan(
      decider, trainsGate: trainsGate, experts: trained, newExperts: new, seed: seed ?? settings.seed)
    (plan.recomputes, plan.members) = (recomputes, members)
    var settings = settings
    settings.seed = seed ?? settings.seed
    let sources = ["sql", "general", "verse"].enumerated().map { index, name in
      TrainingSource(
        path: RuntimeFixture.path("embedded/text/\(name).test.jsonl"), domain: name, weight: weights?[index])
    }
    let stream = try TrainingStream(
      sources, settings: TrainingDataFixture.settings(64, end: 0, seed: settings.seed),
      tokenizer: TrainingDataFixture.tokenizer)
    return try TrainingRun(plan, settings, on: base, stream: stream)
  }
}

extension StepMetrics {
  /// The same without what depends on the clock.
  var timeless: StepMetrics {
    var copy = self
    (copy.seconds, copy.tokensPerSecond) = (0, 0)
    return copy
  }
}

extension TrainingRun {
  /// Every bit of the parameters and their moments.
  var bits: [[UInt32]] {
    let rows = model.parameters.map(\.values) + (optimizer.first + optimizer.second).map(\.rows)
    return rows.map { rows in (0..<rows.count).flatMap { rows.array($0).map(\.bitPattern) } }
  }
}
