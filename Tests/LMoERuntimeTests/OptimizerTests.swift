import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

@testable import LMoERuntime

import class LMoEFormat.Bundle

/// Steps of the optimizer against those that `torch.optim.AdamW` took in double precision.
@Suite struct OptimizerTests {
  static let runs = (GradientCase.index["runs"]?.array ?? []).map { GradientCase(json: $0) }

  @Test func `there are runs`() { #expect(Self.runs.count == 9) }

  /// The same run in the terms of the runtime.
  private struct Course {
    let model: TrainingModel
    let optimizer: AdamW
    let schedule: Schedule
    let peaks: AdamW.Rates
    let batches: [[TrainingModel.Document]]
    let losses: AuxiliaryLosses

    init(_ run: GradientCase, _ bundle: Bundle) throws {
      let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
      let trained = run.json["trained"]?.string
      let plan = TrainingPlan(
        .gate("g"), trainsGate: trained != "experts",
        experts: trained == "gate" ? [] : run.experts.map(\.name))
      model = try TrainingModel(plan, on: base)
      let columns = model.model.gateColumns
      batches = (run.json["batches"]?.array ?? []).map { GradientCase.documents($0, columns: columns) }
      let options = try #require(run.json["optimizer"])
      var settings = AdamW.Settings()
      settings.beta1 = try #require(options["betas"]?.array?.first?.double)
      settings.beta2 = try #require(options["betas"]?.array?.last?.double)
      settings.epsilon = try #require(options["epsilon"]?.double)
      settings.clip = try #require(options["clip"]?.double)
      let groups = try #require(options["groups"]?.object?.members)
      settings.decay = try #require(groups.first?.1["weight_decay"]?.double)
      #expect(groups.allSatisfy { $0.1["weight_decay"]?.double == settings.decay })
      func rate(_ group: String) -> Double { options["groups"]?[group]?["rate"]?.double ?? 0 }
      peaks = AdamW.Rates(gate: rate("gate"), a: rate("A"), b: rate("B"), magnitude: rate("magnitude"))
      optimizer = AdamW(model.parameters, settings: settings, compute: model.model.compute)
      let course = try #require(run.json["schedule"])
      schedule = Schedule(
        try #require(course["kind"]?.string.flatMap(Schedule.Shape.init)),
        warmup: try #require(course["warmup"]?.int), total: try #require(course["total"]?.int),
        floor: try #require(course["floor"]?.double))
      var losses = AuxiliaryLosses()
      losses.balance = run.json["auxiliary"]?["balance"]?.double ?? 0
      losses.z = run.json["auxiliary"]?["z"]?.double ?? 0
      self.losses = losses
    }

    /// Takes a step over some of the batches, in the order of `TrainingRun.step`.
    func step(_ number: Int, _ places: [Int]) -> (loss: Double, norm: Double, rates: AdamW.Rates) {
      let passes = places.map { batches[$0] }
      let all = passes.flatMap(\.self)
      var settings = TrainingModel.PassSettings(
        targets: all.reduce(0) { $0 + $1.isTarget.count { $0 } },
        rows: all.reduce(0) { $0 + $1.tokens.count })
      settings.losses = losses
      var loss = 0.0
      for documents in passes {
        let result = model.run(documents, settings)
        let auxiliary = result.statistics.auxiliary
        loss +=
          result.nats / Double(settings.targets) + losses.balance * auxiliary.balance + losses.z * auxiliary.z
      }
      let norm = optimizer.gradientNorm
      let rates = peaks * schedule.factor(at: number)
      optimizer.step(rates, norm: norm)
      model.clearGradients()
      model.refresh()
      return (loss, norm, rates)
    }
  }

  /// The group of a parameter by its name.
  private static func kind(_ name: String) -> String {
    if name.hasPrefix("gate/") { return "gate" }
    return name.hasSuffix("lora_A") ? "A" : name.hasSuffix("lora_B") ? "B" : "magnitude"
  }

  @Test(arguments: runs)
  func `steps are those of PyTorch`(run: GradientCase) throws {
    let fixture = try RuntimeFixture()
    let bundle = try run.bundle(fixture)
    let course = try Course(run, bundle)
    let parameters = try Reference(run.json["parameters"]?.string ?? "")
    let steps = try #require(run.json["steps"]?.array)
    for (number, step) in steps.enumerated() {
      let found = course.step(number, (step["batches"]?.array ?? []).compactMap(\.int))
      let (loss, norm) = (step["loss"]?.double ?? .nan, step["gradient_norm"]?.double ?? .nan)
      #expect(abs(found.loss - loss) <= 1e-4 * loss, "step \(number + 1): \(found.loss), not \(loss)")
      #expect(abs(found.norm - norm) <= 1e-3 * norm, "step \(number + 1): \(found.norm), not \(norm)")
      for (group, rate) in step["rates"]?.object?.members ?? [] {
        let own =
          ["gate": found.rates.gate, "A": found.rates.a, "B": found.rates.b][group] ?? found.rates.magnitude
        #expect(abs(own - (rate.double ?? .nan)) <= 1e-15, "\(group) in step \(number + 1)")
      }
      let prefix = "step-\(number + 1)/"
      let names = parameters.names.filter { $0.hasPrefix(prefix) }
      if names.isEmpty { continue }
      // In units of the rates, for the sign of a small gradient moves a parameter by a whole one.
      var differences: [String: [Double]] = [:]
      let values = course.model.named(.values, of: bundle)
      #expect(Set(names.map { String($0.dropFirst(prefix.count)) }) == Set(values.keys))
      for name in names {
        let own = try #require(values[String(name.dropFirst(prefix.count))])
        let kind = Self.kind(String(name.dropFirst(prefix.count)))
        let rate = run.json["optimizer"]?["groups"]?[kind]?["rate"]?.double ?? .nan
        differences[kind, default: []] += zip(own, try parameters.floats(name)).map {
          abs(Double($0) - $1) / rate
        }
      }
      for (kind, far) in differences {
        let mean = far.reduce(0, +) / Double(far.count)
        // Whoever leaves a part of the optimizer out is off by 0.004 after ten steps; see fixtures/README.md.
        #expect(mean <= 0.001, "\(kind) after step \(number + 1): \(mean)")
        if run.testDescription == "llama/large-epsilon-cosine" {
          #expect((far.max() ?? 1) <= 0.002, "\(kind) after step \(number + 1): \(far.max() ?? 1)")
        }
      }
    }
  }

  @Test func `rates follow their curve`() {
    for (shape, half) in [(Schedule.Shape.constant, 1.0), (.linear, 0.55), (.cosine, 0.55)] {
      let schedule = Schedule(shape, warmup: 4, total: 24, floor: 0.1)
      #expect((0..<4).map(schedule.factor) == [0.25, 0.5, 0.75, 1])
      #expect(schedule.factor(at: 4) == 1)
      #expect(abs(schedule.factor(at: 14) - half) < 1e-12)
      let end = shape == .constant ? 1 : 0.1
      for step in [24, 25, 1000] { #expect(abs(schedule.factor(at: step) - end) < 1e-12) }
    }
    // A quarter of the way, where a line and a cosine are apart.
    #expect(abs(Schedule(.linear, total: 8).factor(at: 2) - 0.75) < 1e-12)
    #expect(abs(Schedule(.cosine, total: 8).factor(at: 2) - (1 + 0.5.squareRoot()) / 2) < 1e-12)
    #expect(Schedule(.cosine, warmup: 5, total: 5).factor(at: 5) == 1)
  }
}
