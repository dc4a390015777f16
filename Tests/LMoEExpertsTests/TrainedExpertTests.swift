import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Experts that were trained here leave as PEFT adapters and come back with the same values.
@Suite struct TrainedExpertTests {
  private static let variants = [
    "classic", "dora", "rslora", "patterns", "lora-bias", "embed", "legacy-bare", "regex", "tied",
  ].flatMap { variant in VariantTests.families.map { "\($0)/\(variant)" } }
    .filter { FileManager.default.fileExists(atPath: Fixture.path("variants/" + $0)) }

  private func publish(_ weights: TrainedWeights, to bundle: Bundle) throws -> Bundle {
    let stamps = try weights.experts.map { BankStamp(try bundle.bank("expert/" + $0.name)) }
    try weights.publish(to: bundle.path, expecting: stamps)
    let after = try Bundle(path: bundle.path)
    #expect(try after.verify(decoding: true) == [])
    return after
  }

  private func tensors(_ expert: String, _ bundle: Bundle) throws -> [String: Bits128] {
    Dictionary(
      uniqueKeysWithValues: try bundle.manifest(of: bundle.bank("expert/" + expert)).tensors.map {
        ($0.name, $0.contentHash)
      })
  }

  @Test(arguments: variants) func `out and in again`(variant: String) throws {
    let scratch = try Scratch()
    let family = String(try #require(variant.split(separator: "/").first))
    let before = try scratch.bundle(
      base: Fixture.path("families/" + family), experts: [Fixture.path("variants/" + variant)])
    let name = try #require(before.banks(ofKind: "expert").first).shortName
    var weights = TrainedWeights(record: TrainingSamples.record)
    weights.experts = [.init(name, tensors: try TrainingSamples.tensors(of: name, in: before, seed: 3))]
    let after = try publish(weights, to: before)
    #expect(try after.bank("expert/" + name).id == before.bank("expert/" + name).id)

    let export = BundleExport(after)
    #expect(try !export.hasOriginals(name))
    let notes = try export.writeAdapter(name, to: scratch.path(name)).notes
    #expect(notes.isEmpty == !variant.hasSuffix("patterns"))
    let again = try scratch.bundle(
      base: Fixture.path("families/" + family), experts: [scratch.path(name)])
    // What an export leaves out has no effect: copies of the base's own tensors.
    let (trained, back) = (try tensors(name, after), try tensors(name, again))
    let missing = Set(trained.keys).subtracting(back.keys)
    #expect(
      missing.allSatisfy { $0.hasSuffix(".base_layer.weight") || $0 == "base_model.model.lm_head.weight" })
    for (tensor, hash) in back { #expect(trained[tensor] == hash, "\(tensor)") }
    let (left, right) = (
      try after.card(of: after.bank("expert/" + name)), try again.card(of: again.bank("expert/" + name))
    )
    // Measured as an import measures them.
    #expect(left?["norm"] == right?["norm"] && left?["share"] == right?["share"])
    let groups = { (card: JSON?) in
      (ModuleGroup.groups(ofCard: card) ?? []).flatMap { group in
        zip(group.targets, group.norms).map {
          "\($0) \(group.numbers.rank) \(group.numbers.scaling) \($1 ?? -1)"
        }
      }.sorted()
    }
    #expect(groups(left) == groups(right) && !groups(left).isEmpty)
  }

  @Test func `other files come along`() throws {
    let scratch = try Scratch()
    let directory = "\(Scratch.fixtures)/adapters/math"
    let before = try scratch.bundle(experts: [directory])
    #expect(try BundleExport(before).hasOriginals("math"))
    var weights = TrainedWeights(record: TrainingSamples.record)
    weights.experts = [.init("math", tensors: try TrainingSamples.tensors(of: "math", in: before, seed: 3))]
    let after = try publish(weights, to: before)
    let card = try #require(try after.card(of: after.bank("expert/math")))
    #expect(card["files"] == [] && card["training"]?["step"] == 400)
    #expect(card["provenance"]?["imported_from"] == "math")
    let files = try BundleExport(after).writeAdapter("math", to: scratch.path("out")).files
    #expect(files == ["adapter_config.json", "adapter_model.safetensors", "README.md"])
    let (old, new) = (try Scratch.contents(directory), try Scratch.contents(scratch.path("out")))
    #expect(new["README.md"] == old["README.md"] && new["README.md"] != nil)
    #expect(new["adapter_model.safetensors"] != old["adapter_model.safetensors"])
    let error = #expect(throws: ExpertError.self) {
      try BundleExport(after).write("expert/math", to: scratch.path("exact"))
    }
    #expect(error?.code == .notExportable)
    // Restored, it is what was imported.
    try BundleWriter.restore(before.path, generation: 1)
    try BundleExport(try Bundle(path: before.path)).write("expert/math", to: scratch.path("exact"))
    #expect(try Scratch.contents(scratch.path("exact")) == old)
  }

  @Test(arguments: [(["q_proj", "v_proj"], 3, 13.0, true), (["all-linear"], 8, 16, false)])
  func `an expert from nothing`(targets: [String], rank: Int, alpha: Double, isStabilised: Bool) throws {
    let scratch = try Scratch()
    let before = try scratch.bundle()
    let base = try before.baseDescription()
    let made = try NewExpert(
      "made", rank: rank, alpha: alpha, isRankStabilised: isStabilised, targets: targets, on: base)
    let layers = base.model.layerCount
    #expect(made.modules.count == layers * (targets.count == 2 ? 2 : 7))
    var weights = TrainedWeights(record: TrainingSamples.record)
    let tensors = made.tensors.enumerated().map {
      TrainingSamples.tensor($1.name, $1.shape, seed: UInt64($0))
    }
    weights.newExperts = [.init(made, tensors: tensors)]
    let row = [Float](repeating: 0.5, count: base.model.hiddenSize + 1)
    weights.newGates = [
      .init(
        "default",
        NewGate(
          Gate(.linear, scope: .layer, normaliser: .softmax), rows: ["model.layers.0": [made.id: row]],
          initialiser: "random"))
    ]
    let after = try publish(weights, to: before)
    #expect(after.root.note == "train gate/default, expert/made (400 steps)")
    #expect(try after.bank("expert/made").id == made.id)
    #expect(try after.gate(named: "default").rows() == ["model.layers.0": [made.id: row]])
    let card = try #require(try after.card(of: after.bank("expert/made")))
    #expect(card["base"]?["match"] == "verified")
    #expect(card["base"]?["source_id"]?.string == base.sourceID && base.sourceID != nil)

    let export = BundleExport(after)
    #expect(try !export.hasOriginals("made"))
    try export.writeAdapter("made", to: scratch.path("made"))
    // 13 / √3 is none of the numbers that a third of something can be.
    let files = try Scratch.contents(scratch.path("made"))
    let configuration = try JSON(parsing: try #require(files["adapter_config.json"]))
    #expect(configuration["use_rslora"]?.bool == (isStabilised ? true : nil))
    let again = try scratch.bundle(experts: [scratch.path("made")])
    #expect(try self.tensors("made", again) == self.tensors("made", after))
    let other = try #require(try again.card(of: again.bank("expert/made")))
    for key in ["norm", "share", "parameters", "dtypes", "prefix"] {
      #expect(card[key] == other[key], "\(key)")
    }
    let scaling = ModuleGroup.groups(ofCard: other)?.map(\.numbers.scaling)
    #expect(scaling == [isStabilised ? alpha / Double(rank).squareRoot() : alpha / Double(rank)])
  }

  @Test func `an expert that cannot be`() throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle()
    let base = try bundle.baseDescription()
    func refusal(
      _ targets: [String], as name: String = "made", rank: Int = 2, alpha: Double = 2
    ) -> String {
      LMoEExpertsTests.refusal {
        _ = try NewExpert(name, rank: rank, alpha: alpha, targets: targets, on: base)
      }
    }
    #expect(refusal(["q_proj", "lm_head"]) == "")
    #expect(refusal(["model.layers.0.mlp.up_proj"]) == "")
    #expect(
      refusal(["q_prj"])
        == "tiny-llama has no linear layer \"q_prj\" that an expert could change")
    #expect(refusal(["embed_tokens"]).contains("embed_tokens"))
    for targets in [[], [""], ["proj"], ["norm"]] { #expect(refusal(targets) != "", "\(targets)") }
    #expect(refusal(["q_proj"], as: "a/b").contains("cannot be the name"))
    #expect(refusal(["q_proj"], rank: 0).contains("rank 0"))
    #expect(refusal(["q_proj"], alpha: .nan).contains("alpha nan"))

    let made = try NewExpert("made", rank: 1, alpha: 1, targets: ["q_proj"], on: base)
    var tensors = made.tensors.map { TrainingSamples.tensor($0.name, $0.shape, seed: 1) }
    func publishing() -> String {
      LMoEExpertsTests.refusal {
        var weights = TrainedWeights(record: [:])
        weights.newExperts = [.init(made, tensors: tensors)]
        try weights.publish(to: bundle.path, expecting: [])
      }
    }
    tensors.removeLast()
    #expect(publishing().hasSuffix("it was given no values"))
    tensors.append(TrainingSamples.tensor("x", [1], seed: 1))
    #expect(publishing().contains("the shape [1]"))
    #expect(try Bundle(path: bundle.path).generation == 1)
  }
}
