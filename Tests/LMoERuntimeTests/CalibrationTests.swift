import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle
@testable import LMoERuntime

/// What experts are worth, against the formulas in double precision and against gates that are changed by hand.
@Suite struct CalibrationTests {
  private static let names = [
    "llama/linear-layer-null", "llama/top-2-raw-module", "llama/dora-layer", "llama/always-layer",
    "llama/given",
    "llama/uniform", "llama/linear-global", "qwen2/linear-module", "llama/unaware-layer",
  ]

  private func sample(_ tokens: [Int]) -> Evaluation.Sample {
    Evaluation.Sample(tokens: tokens, isTarget: tokens.map { _ in true }, bytes: tokens.count)
  }

  private func statistics(
    _ bundle: Bundle, _ samples: [Evaluation.Sample], losses: Bool = false, gate: String? = "g"
  ) throws -> ExpertStatistics {
    try ExpertCalibration(LoadedBase(bundle, on: RuntimeFixture.pool), gate: gate)
      .run(samples, context: 512, findsLosses: losses)
  }

  @Test(arguments: names) func `use and saliency are those of the formulas`(name: String) throws {
    let item = try MixtureCase(name)
    let bundle = try item.bundle(RuntimeFixture())
    let tokens = try item.expected().integers("input_ids")
    let found = try statistics(bundle, [sample(tokens + [1]), sample([3, 1, 4, 1, 5, 9])])

    let model = try ReferenceModel(bundle, gate: "g")
    let pass = ReferencePass(
      model,
      [tokens + [1], [3, 1, 4, 1, 5, 9]].map {
        ReferenceDocument(tokens: $0, isTarget: $0.map { _ in true }, feedsLast: false)
      }, differentiates: false)
    _ = pass.logits()
    // Σ|g| over tokens and places.
    var uses: [String: Double] = [:]
    var places = 0
    for (place, decision) in pass.decisions {
      let weights = pass.tape[decision.weights]
      for (column, member) in decision.members.enumerated() {
        uses[member, default: 0] += weights.column(column).reduce(0) { $0 + $1.magnitude }
      }
      // A gate of modules decides where somebody is on as well.
      #expect(!place.isEmpty)
      places += 1
    }
    for member in model.gate?.always ?? [] { uses[member] = Double(places * pass.fed.count) }
    let total = uses.values.reduce(0, +)
    // |g|·‖Δ(x)‖, the mean over the tokens with a weight, summed over the modules.
    var saliencies: [String: Double] = [:]
    for (key, addition) in pass.additions {
      let expert = String(key.prefix { $0 != "/" })
      let (deltas, shares) = (pass.tape[addition.delta], pass.tape[addition.share])
      let lengths = deltas.rowNorms
      let routed = (0..<shares.rows).filter { shares[$0, 0] != 0 }
      let sum = routed.reduce(0) { $0 + shares[$1, 0].magnitude * lengths[$1] }
      if !routed.isEmpty { saliencies[expert, default: 0] += sum / Double(routed.count) }
    }
    for expert in found.experts {
      let use = (uses[expert.name] ?? 0) / total
      let saliency = saliencies[expert.name] ?? 0
      #expect(abs(expert.use - use) <= 1e-5, "\(expert.name): \(expert.use), \(use)")
      #expect(
        abs(expert.saliency - saliency) <= 2e-5 * saliency, "\(expert.name): \(expert.saliency), \(saliency)")
      #expect(expert.takesPart == (uses[expert.name] != nil))
      #expect(expert.isAlwaysOn == (model.gate?.always.contains(expert.name) ?? false))
    }
    #expect(found.nullUse.map { abs($0 - (uses[""] ?? 0) / total) <= 1e-5 } ?? (uses[""] == nil))
    #expect(found.tokens == tokens.count + 1 + 6)
  }

  private func evaluate(_ bundle: Bundle, _ samples: [Evaluation.Sample]) throws -> Double {
    let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
    return try Evaluation.of(samples, by: Model(base, selection: .gate("g")), context: 512).natsPerToken
  }

  @Test(arguments: names)
  func `the loss without an expert is that of the bundle without it`(name: String) throws {
    let fixture = try RuntimeFixture()
    let item = try MixtureCase(name)
    let bundle = try item.bundle(fixture)
    let samples = [sample(try item.expected().integers("input_ids")), sample([3, 1, 4, 1, 5, 9])]
    let found = try statistics(bundle, samples, losses: true)
    #expect(abs(found.nats - (try evaluate(bundle, samples))) < 1e-6)
    #expect(found.experts.contains { abs($0.lossChange ?? 0) > 1e-4 })
    for expert in found.experts {
      let copy = "\(fixture.directory)/without-\(expert.name).lmoe"
      let writer = try BundleWriter(creating: copy)
      try BundleSubset().write(bundle, to: writer)
      let reduction = try ExpertReduction(
        found.experts.map {
          ExpertReduction.Candidate(id: $0.id, name: $0.name, value: $0.id == expert.id ? 0 : 1)
        }, keeping: found.experts.count - 1, path: "")
      _ = try writer.reduce(reduction, of: bundle)
      try writer.commit(note: "test")
      let after = try Bundle(path: copy)
      #expect(after.banks(ofKind: "expert").count == found.experts.count - 1)
      let nats = try evaluate(after, samples)
      #expect(abs(nats - found.nats - (try #require(expert.lossChange))) < 1e-6, "\(expert.name)")
    }
  }

  @Test func `a bundle without a gate weighs all alike`() throws {
    let item = try MixtureCase("llama/uniform")
    let fixture = try RuntimeFixture()
    let samples = [sample(try item.expected().integers("input_ids"))]
    let plain = try fixture.bundle(base: item.base, experts: item.experts)
    let found = try statistics(plain, samples, losses: true, gate: nil)
    let gated = try statistics(try item.bundle(fixture), samples, losses: true)
    #expect(found.experts.map(\.use) == gated.experts.map(\.use))
    #expect(
      zip(found.experts, gated.experts).allSatisfy { abs(($0.lossChange ?? 9) - ($1.lossChange ?? 0)) < 1e-6 }
    )
  }

  /// Whoever leaves an expert twice and makes one of the two has what there was.
  @Test(arguments: ["llama/uniform", "llama/given", "llama/linear-layer", "llama/linear-module"])
  func `two that are the same become one`(name: String) throws {
    let item = try MixtureCase(name)
    let fixture = try RuntimeFixture()
    let twins = item.experts + [("twin", item.experts[0].directory)]
    let bundle = try fixture.bundle(base: item.base, experts: twins)
    var ids: [String: String] = [:]
    for bank in bundle.banks(ofKind: "expert") { ids[bank.shortName] = bank.id.description }
    let writer = try BundleWriter(appendingTo: bundle.path)
    // The twin has the row, or the number, of the first.
    let first = item.experts[0].name
    let rows = try MixtureCase.rows(RuntimeFixture.path("mixtures/\(name)/rows.safetensors"), ids)
    var card = try #require(item.gate.object)
    for list in ["members", "weights"] {
      guard var entries = card[list]?.array else { continue }
      for entry in entries where entry["expert"]?.string == first {
        var copy = try #require(entry.object)
        copy["expert"] = "twin"
        entries.append(.object(copy))
      }
      card[list] = .array(entries)
    }
    let own = try #require(ids[first])
    let copies = rows.filter { $0.name.hasPrefix(own) }.map { row in
      NewEntry(
        tensor: (ids["twin"] ?? "") + row.name.dropFirst(own.count), type: row.type, source: row.source)
    }
    try writer.addBank("gate/g", card: MixtureCase.named(.object(card), ids), entries: rows + copies)
    try writer.commit(note: "test")
    let before = try Bundle(path: bundle.path)
    let banks = before.banks(ofKind: "expert")
    let similarity = try ExpertSimilarity(
      banks.map { try MergeInput(StoredExpert($0.shortName, in: before)) })
    let reduction = try ExpertReduction(
      banks.map { ExpertReduction.Candidate(id: $0.id, name: $0.shortName) }, keeping: banks.count - 1,
      similarity: similarity, merging: true, path: "")
    #expect(
      reduction.clusters.map { $0.members.map { banks[$0].shortName }.sorted() } == [
        [first, "twin"].sorted()
      ])
    let merged = try reduction.merged(in: before)
    let change = try BundleWriter(appendingTo: bundle.path)
    _ = try change.reduce(reduction, merged: merged, of: before)
    try change.commit(note: "test")
    let after = try Bundle(path: bundle.path)
    let tokens = try item.expected().integers("input_ids")
    func logits(_ bundle: Bundle) throws -> [[Float]] {
      try Model(LoadedBase(bundle, on: RuntimeFixture.pool), selection: .gate("g")).logits(tokens)
    }
    #expect(try deviation(logits(after), logits(before)) < 2e-5)
    #expect(after.banks(ofKind: "expert").count == item.experts.count)
  }
}
