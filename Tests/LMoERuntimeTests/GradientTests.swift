import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

@testable import LMoERuntime

import class LMoEFormat.Bundle

/// Loss and gradients against what autograd computed in double precision.
@Suite struct GradientTests {
  @Test func thereAreCases() { #expect(GradientCase.all.count >= 60) }

  @Test(arguments: GradientCase.all, [false, true])
  func gradientsAreThoseOfAutograd(_ sample: GradientCase, recomputes: Bool) throws {
    let fixture = try RuntimeFixture()
    let bundle = try sample.bundle(fixture)
    let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
    var plan = TrainingPlan(.gate("g"), trainsGate: true, experts: sample.experts.map(\.name))
    plan.recomputes = recomputes
    let model = try TrainingModel(plan, on: base)
    let documents = sample.documents(columns: model.model.gateColumns)
    var settings = sample.settings(documents)
    settings.labelled = model.labelled(documents)
    let result = model.run(documents, settings)
    let expected = try Reference(sample.json["gradients"]?.string ?? "")

    let loss = try #require(sample.json["language_loss"]?.double)
    #expect(abs(result.nats / Double(settings.targets) - loss) < 1e-5 * abs(loss))
    let losses = sample.json["auxiliary_losses"]?.object?.members ?? []
    let auxiliary = result.statistics.auxiliary
    for (key, value) in losses {
      let found: Double? =
        switch key {
        case "balance": auxiliary.balance
        case "z": auxiliary.z
        case "mutual-information": auxiliary.mutualInformation
        case "supervised": auxiliary.supervised
        default: nil
        }
      let wanted = try #require(value.double)
      #expect(abs(try #require(found) - wanted) < 1e-4 * max(0.1, abs(wanted)), "\(key)")
    }

    let found = model.named(.gradients, of: bundle)
    // Relative to the largest gradient of its kind: A or B of one module may be next to nothing.
    var scales: [String: Double] = [:]
    func kind(_ name: String) -> String {
      name.hasPrefix("gate/") ? "gate" : String(name.split(separator: ".").last ?? "")
    }
    for name in expected.names {
      let largest = try expected.floats(name).map(abs).max() ?? 0
      scales[kind(name)] = max(scales[kind(name)] ?? 0, largest)
    }
    var compared = 0
    for name in expected.names {
      let wanted = try expected.floats(name)
      guard let values = found[name] else {
        // Experts that the gate knows nothing of do not take part.
        #expect(wanted.allSatisfy { $0 == 0 }, "\(name)")
        continue
      }
      #expect(values.count == wanted.count, "\(name)")
      let scale = max(scales[kind(name)] ?? 0, 1e-7)
      let worst = zip(values, wanted).map { abs(Double($0) - $1) }.max() ?? 0
      #expect(worst <= 1e-4 * scale, "\(name): \(worst / scale)")
      compared += 1
    }
    #expect(compared > 0 || sample.json["weight_gradients"] != nil)
  }
}
