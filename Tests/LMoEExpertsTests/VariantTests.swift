import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Adapters of every kind for every family, resolved as PEFT's live layers have them.
@Suite struct VariantTests {
  static let families = ["llama", "mistral", "qwen2", "qwen3"]

  /// `qwen2/dora`.
  static let variants = families.flatMap { family in
    Fixture.directories(in: "variants/" + family).map { family + "/" + $0 }
  }

  @Test(arguments: families) func `every variant is there`(family: String) {
    let common = [
      "all-linear", "bare-decoder", "bf16", "bias-all", "bias-lora-only", "classic", "dora", "dora-rslora",
      "embed", "embed-dora", "embed-no-copy", "excluded", "f16", "gaussian", "head", "layers", "legacy-bare",
      "legacy-default", "legacy-fsdp", "legacy-saved", "lora-bias", "mixed", "patterns", "pissa-converted",
      "rank-1", "regex", "replicated", "rslora", "saved-embed", "saved-head", "saved-norm", "second",
      "tokens", "tokens-both", "tokens-head", "unknown-keys",
    ]
    let tied = family.hasPrefix("qwen") ? ["tied", "tied-head", "tied-saved"] : []
    #expect(Fixture.directories(in: "variants/" + family) == (common + tied).sorted())
    #expect(Fixture.directories(in: "variants") == Self.families + ["refused"])
  }

  private struct Case {
    let family: String
    let directory: String
    let expected: JSON

    init(_ variant: String) throws {
      family = String(try #require(variant.split(separator: "/").first))
      directory = Fixture.path("variants/" + variant)
      expected = try Fixture.expected("variants/" + variant)
    }

    func expert() throws -> LoRAExpert {
      let base = try Fixture.model(family).base
      return try LoRAExpert(try PEFTAdapter(path: directory), on: base)
    }

    func bundle(_ scratch: Scratch, codec: CodecPolicy = .planes) throws -> Bundle {
      try scratch.bundle(base: Fixture.path("families/" + family), experts: [directory], codec: codec)
    }

    /// The tensors that are replaced, and whether by the same.
    var replaced: [String: Bool] {
      Dictionary(
        uniqueKeysWithValues: (expected["replaces"]?.array ?? []).compactMap { item in
          item["tensor"]?.string.map { ($0, item["equals_base"]?.bool == true) }
        })
    }

    /// Modules that take their rows from the embedding.
    var tied: [String] { expected["tied_tokens"]?.array?.compactMap(\.string) ?? [] }

    var tokens: [String: [Int]] {
      Dictionary(
        uniqueKeysWithValues: (expected["tokens"]?.object?.members ?? []).map {
          ($0.key, $0.value.array?.compactMap(\.int) ?? [])
        })
    }
  }

  private func expect(_ value: Double, near expected: JSON?, within relative: Double, _ what: String) {
    let expected = expected?.double ?? .nan
    #expect(abs(value - expected) <= relative * abs(expected), "\(what): \(value) for \(expected)")
  }

  @Test(arguments: variants) func `the modules`(variant: String) throws {
    let item = try Case(variant)
    let expected = try #require(item.expected["modules"]?.object)
    let expert = try item.expert()
    #expect(expert.modules.map(\.name) == expected.members.map(\.key).sorted())
    for module in expert.modules {
      let facts = try #require(expected[module.name])
      #expect(module.rank == facts["rank"]?.int)
      expect(module.alpha, near: facts["alpha"], within: 0, module.name)
      expect(module.scaling, near: facts["scaling"], within: 1e-12, module.name)
      #expect(module.inputFeatures == facts["in_features"]?.int)
      #expect(module.outputFeatures == facts["out_features"]?.int)
      #expect(module.isDoRA == facts["dora"]?.bool)
      #expect(module.hasBias == facts["lora_bias"]?.bool)
      #expect(module.isEmbedding == facts["embedding"]?.bool)
    }
    #expect(expert.notes == [])
    // Forty, of which some are off.
    let unknown = expert.adapter.unknownKeys
    #expect(unknown.count == (variant.hasSuffix("/unknown-keys") ? 24 : 0), "\(unknown)")
  }

  @Test(arguments: variants) func `the sizes of the deltas`(variant: String) throws {
    let item = try Case(variant)
    let expert = try item.expert()
    let measured = try ExpertMeasurement(expert, on: WorkerPool(count: 2))
    let expected = try #require(item.expected["delta_norms"]?.object)
    #expect(expected.members.count == expert.modules.count)
    for (module, norm) in zip(expert.modules, measured.norms) {
      expect(try #require(norm), near: expected[module.name], within: 1e-5, module.name)
    }
  }

  @Test(arguments: variants) func `the card says the same`(variant: String) throws {
    let item = try Case(variant)
    let bundle = try item.bundle(try Scratch())
    let bank = try #require(bundle.banks(ofKind: "expert").first)
    let card = try #require(try bundle.card(of: bank))
    let manifest = try bundle.manifest(of: bank)

    let expected = try #require(item.expected["modules"]?.object)
    let groups = try #require(ModuleGroup.groups(ofCard: card))
    #expect(groups.flatMap(\.targets).sorted() == expected.members.map(\.key).sorted())
    for group in groups {
      for (target, norm) in zip(group.targets, group.norms) {
        let facts = expected[target]
        #expect(group.numbers.rank == facts?["rank"]?.int)
        expect(group.numbers.alpha, near: facts?["alpha"], within: 0, target)
        expect(group.numbers.scaling, near: facts?["scaling"], within: 1e-12, target)
        #expect(group.numbers.isDoRA == facts?["dora"]?.bool)
        #expect(group.numbers.hasBias == facts?["lora_bias"]?.bool)
        #expect(group.numbers.isEmbedding == facts?["embedding"]?.bool)
        expect(try #require(norm), near: item.expected["delta_norms"]?[target], within: 1e-5, target)
      }
    }
    try expect(card["replaces"]?.array ?? [], replace: item, manifest)
    let tokens = card["tokens"]?.array ?? []
    #expect(
      Dictionary(
        uniqueKeysWithValues: tokens.map {
          ($0["module"]?.string ?? "", $0["indices"]?.array?.compactMap(\.int) ?? [])
        }) == item.tokens.filter { !item.tied.contains($0.key) })
    for rows in tokens {
      #expect(manifest.tensor(rows["with"]?.string ?? "")?.type.shape.count == 2)
      #expect(rows["tied"]?.bool == (!item.tied.isEmpty && rows["module"] == "model.embed_tokens"))
    }
    let stack = try Fixture.json("variants/\(variant)/adapter_config.json")["layer_replication"]
    #expect(card["layer_replication"] == (stack?.isNull == true ? nil : stack))
    #expect((stack?.array != nil) == variant.hasSuffix("/replicated"))
  }

  private func expect(_ replaces: [JSON], replace item: Case, _ manifest: Manifest) throws {
    var same: [String: Bool] = [:]
    for replacement in replaces {
      let tensor = try #require(replacement["tensor"]?.string)
      let isSame = try #require(replacement["same"]?.bool as Bool?)
      #expect(same.updateValue(isSame, forKey: tensor) == nil)
      #expect(manifest.tensor(replacement["with"]?.string ?? "") != nil)
    }
    for (tensor, isSame) in item.replaced { #expect(same[tensor] == isSame, "\(tensor)") }
    // A copy of a matrix that two ends share is one of both: it is listed for either, and changes neither.
    for (tensor, isSame) in same where item.replaced[tensor] == nil {
      #expect(isSame && ["lm_head.weight", "model.embed_tokens.weight"].contains(tensor), "\(tensor)")
      #expect(try Fixture.model(item.family).names.model.tiesEmbeddings)
    }
  }

  @Test(arguments: variants) func `what goes in comes out`(variant: String) throws {
    let item = try Case(variant)
    let scratch = try Scratch()
    let bundle = try item.bundle(scratch)
    #expect(try bundle.verify(decoding: true) == [])
    let bank = try #require(bundle.banks(ofKind: "expert").first)
    try BundleExport(bundle).write(bank.name, to: scratch.path("out"))
    let files = try Scratch.contents(item.directory)
    #expect(try Scratch.contents(scratch.path("out")) == files && files.count >= 2)
    // Each tensor keeps its dtype and its bytes, whatever it is called.
    let file = try SafetensorsFile(path: item.directory + "/adapter_model.safetensors")
    let stored = try bundle.manifest(of: bank).tensors
    #expect(stored.count == file.tensors.count)
    #expect(
      stored.map { "\($0.type)" }.sorted() == file.tensors.map { "\($0.type)" }.sorted())
    let dtypes = Set(stored.map(\.type.dtype))
    if variant.hasSuffix("/mixed") { #expect(dtypes == [.f32, .f16, .bf16]) }
    if variant.hasSuffix("/bf16") { #expect(dtypes == [.bf16]) }
    if variant.hasSuffix("/f16") { #expect(dtypes == [.f16]) }
    #expect(stored.allSatisfy { $0.name.hasPrefix("base_model.model.") })
  }

  @Test(arguments: families) func `old names mean what new ones mean`(family: String) throws {
    let classic = try Case(family + "/classic")
    let scratch = try Scratch()
    let names = { (bundle: Bundle) in
      try bundle.manifest(of: #require(bundle.banks(ofKind: "expert").first)).tensors
        .map { "\($0.name) \($0.contentHash)" }
    }
    let expected = try names(classic.bundle(scratch))
    for old in ["legacy-default", "legacy-bare", "legacy-fsdp"] {
      #expect(try names(Case("\(family)/\(old)").bundle(scratch)) == expected, "\(old)")
    }
  }
}
