import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle
@testable import LMoERuntime

/// Weights that are found from a few texts.
@Suite struct FitTests {
  private static let experts = ["arithmetic", "json", "sql", "verse"]

  private func base(_ fixture: RuntimeFixture, _ experts: [String] = experts) throws -> LoadedBase {
    try LoadedBase(
      fixture.bundle(base: "embedded/base", experts: experts.map { ($0, "embedded/" + $0) }, codec: .raw),
      on: RuntimeFixture.pool)
  }

  private func samples(
    _ domain: String, _ base: LoadedBase, _ count: Int, part: String = "train"
  ) throws -> [Evaluation.Sample] {
    let path = RuntimeFixture.path("embedded/text/\(domain).\(part).jsonl")
    let data = try TextData(
      domain: domain, path: path, bytes: [UInt8](try Data(contentsOf: URL(filePath: path))))
    let tokenizer = try Tokenizer(bundle: base.bundle)
    return data.documents.prefix(count).map { Evaluation.sample($0, tokenizer, boundary: 0) }
  }

  @Test(arguments: [("sql", MixingFit.Scope.layer), ("verse", .global)])
  func `the gradient finds the expert of the texts`(domain: String, scope: MixingFit.Scope) throws {
    let base = try base(RuntimeFixture())
    let fit = try MixingFit(
      base, experts: Self.experts, scope: scope, samples: samples(domain, base, 4), context: 256)
    let result = try fit.gradient(steps: 12, rate: 0.1)
    #expect(result.after < result.before - (domain == "sql" ? 0.5 : 0.05) && result.steps == 12)
    for (name, mean) in zip(result.experts, result.means) {
      #expect(name == domain ? mean > 0.7 : abs(mean) < 0.25, "\(name): \(mean)")
    }
    #expect(result.places.count == (scope == .layer ? 6 : 1))
  }

  @Test func `the search finds the expert of the texts`() throws {
    let base = try base(RuntimeFixture(), ["json", "sql"])
    let fit = try MixingFit(
      base, experts: ["json", "sql"], scope: .global, samples: samples("sql", base, 2), context: 128)
    var tried = 0
    let result = try fit.search(evaluations: 24, seed: 1) { _ in tried += 1 }
    #expect(tried == 24 && result.steps == 24)
    #expect(result.means[1] > 0.5 && abs(result.means[0]) < 0.5)
    #expect(result.weights[0].allSatisfy { ($0 ?? 9).magnitude <= 1.5 })
    // The weights are those of the loss that is given, and the same seed finds the same.
    // (The gate has its members in the order of their ids.)
    let losses = try [result.means, result.means.reversed()].map { weights in
      fit.vector = weights
      return try fit.loss()
    }
    #expect(losses.contains { abs($0 - result.after) < 1e-9 })
    #expect(try fit.search(evaluations: 24, seed: 1).means == result.means)
    #expect(try fit.search(evaluations: 24, seed: 2).means != result.means)
  }

  @Test(arguments: MixingFit.Scope.allCases)
  func `a gate and an expert do what was found`(scope: MixingFit.Scope) throws {
    let fixture = try RuntimeFixture()
    let names = ["dora", "code", "math"]
    let item = try MixtureCase("llama/dora-layer")
    let experts = Array(item.experts.prefix(3))
    let bundle = try fixture.bundle(base: item.base, experts: experts)
    let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
    #expect(names.count == experts.count)
    let tokens = try item.expected().integers("input_ids")
    let sample = Evaluation.Sample(tokens: tokens, isTarget: tokens.map { _ in true }, bytes: 1)
    let fit = try MixingFit(base, experts: experts.map(\.name), scope: scope, samples: [sample], context: 512)
    let result = try fit.gradient(steps: 3, rate: 0.2)
    #expect(result.before != result.after)
    let inputs = try experts.map { try MergeInput(StoredExpert($0.name, in: bundle)) }
    let weights = try BaseWeights(ResolvedBase(bundle))
    let writer = try BundleWriter(appendingTo: bundle.path)
    try writer.addGate(
      result.gate(hiddenSize: base.description.model.hiddenSize, method: .gradient), named: "g")
    // DoRA has no low rank: all of it.
    let merge = try result.merge(inputs, rank: .rank(64), base: weights, method: .gradient)
    try writer.addExpert(merge.run(), named: "sum")
    try writer.commit(note: "test")
    let after = try LoadedBase(Bundle(path: bundle.path), on: RuntimeFixture.pool)
    let gated = try Model(after, selection: .gate("g"))
    #expect(gated.experts.count == 3)
    let wanted = try fit.training.model.logits(tokens)
    #expect(try deviation(gated.logits(tokens), wanted) < 1e-5)
    #expect(try deviation(Model(after, selection: .expert("sum")).logits(tokens), wanted) < 2e-4)
    #expect(try deviation(Model(after).logits(tokens), wanted) > 1e-3)
    let found = try Evaluation.of([sample], by: gated, context: 512).natsPerToken
    #expect(abs(found - result.after) < 1e-5)
  }

  @Test func `a search without a gradient`() {
    for seed in 0..<8 as Range<UInt64> {
      var search = EvolutionSearch(dimensions: 3, bounds: -1.5...1.5, seed: seed)
      // A narrow valley.
      let best = search.minimise(evaluations: 600) { x in
        (x[0] - 1) * (x[0] - 1) + 30 * (x[1] - x[0]) * (x[1] - x[0]) + (x[2] + 0.5) * (x[2] + 0.5)
      }
      #expect(abs(best[0] - 1) < 0.05 && abs(best[1] - 1) < 0.05 && abs(best[2] + 0.5) < 0.05, "\(best)")
    }
    var search = EvolutionSearch(dimensions: 2, bounds: -1.5...1.5, seed: 1)
    var first: [Double]?
    let best = search.minimise(evaluations: 200) { x in
      first = first ?? x
      return -x[0] - 2 * x[1]
    }
    #expect(first == [0, 0] && best.allSatisfy { abs($0 - 1.5) < 0.01 })
  }

  @Test func `texts with nothing to predict`() throws {
    let base = try base(RuntimeFixture(), ["sql"])
    let sample = Evaluation.Sample(tokens: [5], isTarget: [true], bytes: 1)
    #expect(throws: RuntimeError.self) {
      try MixingFit(base, experts: ["sql"], scope: .global, samples: [sample], context: 64)
    }
  }
}
