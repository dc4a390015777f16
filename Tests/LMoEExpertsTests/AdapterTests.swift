import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import class LMoEFormat.Bundle
import Testing

/// Adapters that PEFT wrote, resolved as PEFT's live layers have it.
@Suite struct AdapterTests {
  static let importable = ["math", "code", "verse", "regex", "allbias", "biased", "dora", "embed", "saved"]

  /// What PEFT says of each module; `NAME.expected.json`.
  struct Expected {
    let rank: Int
    let alpha: Double
    let scaling: Double
    let input: Int
    let output: Int

    static func table(_ adapter: String) throws -> [String: Expected] {
      let file = URL(filePath: "\(Scratch.fixtures)/adapters/\(adapter).expected.json")
      let modules = try #require(try JSON(parsing: [UInt8](try Data(contentsOf: file)))["modules"]?.object)
      return try Dictionary(
        uniqueKeysWithValues: modules.members.map { name, json in
          (
            name,
            Expected(
              rank: try #require(json["rank"]?.int), alpha: try #require(json["alpha"]?.double),
              scaling: try #require(json["scaling"]?.double), input: try #require(json["in_features"]?.int),
              output: try #require(json["out_features"]?.int))
          )
        })
    }
  }

  /// Modules with equal numbers, as an adapter or a card has them.
  struct Group {
    let rank: Int
    let alpha: Double
    let scaling: Double
    let targets: [String]
  }

  @Test(arguments: importable) func `the module table`(name: String) throws {
    let expected = try Expected.table(name)
    let adapter = try PEFTAdapter(path: "\(Scratch.fixtures)/adapters/\(name)")
    #expect(adapter.modules.map(\.name) == expected.keys.sorted())
    for module in adapter.modules {
      #expect(module.inputFeatures == expected[module.name]?.input, "\(module.name)")
      #expect(module.outputFeatures == expected[module.name]?.output, "\(module.name)")
    }
    Self.expect(
      adapter.groups.map {
        let numbers = $0.numbers
        return Group(
          rank: numbers.rank, alpha: numbers.alpha, scaling: numbers.scaling, targets: $0.targets)
      }, equals: expected)
    #expect(adapter.baseName == "tiny-llama" && adapter.unknownKeys == [] && adapter.leftOut == [])
  }

  /// Each module in exactly one group, with PEFT's numbers.
  private static func expect(_ groups: [Group], equals expected: [String: Expected]) {
    #expect(groups.flatMap(\.targets).sorted() == expected.keys.sorted())
    for group in groups {
      for target in group.targets {
        #expect(group.rank == expected[target]?.rank, "\(target)")
        #expect(group.alpha == expected[target]?.alpha, "\(target)")
        #expect(
          abs(group.scaling - (expected[target]?.scaling ?? .nan)) <= 1e-12 * group.scaling, "\(target)")
      }
    }
  }

  @Test(arguments: importable) func `the card says the same`(name: String) throws {
    let scratch = try Scratch()
    let bundle = try scratch.bundle(experts: ["\(Scratch.fixtures)/adapters/\(name)"])
    let card = try #require(try bundle.card(of: bundle.bank("expert/\(name)")))
    var groups: [Group] = []
    for group in try #require(card["modules"]?.array) {
      groups.append(
        Group(
          rank: try #require(group["rank"]?.int), alpha: try #require(group["alpha"]?.double),
          scaling: try #require(group["scaling"]?.double),
          targets: try #require(group["targets"]?.array).compactMap(\.string)))
    }
    Self.expect(groups, equals: try Expected.table(name))
    #expect(card["type"] == "lora" && card["kind"] == "expert" && card["prefix"] == "base_model.model.")
    let base = try bundle.bank("base")
    #expect(card["base"]?["source_id"]?.string == base.contentID.description)
    #expect(try bundle.card(of: base)?["source_id"]?.string == base.contentID.description)
    #expect(card["base"]?["name"] == "tiny-llama")
  }

  /// The whole sentence, `PATH` for the adapter's directory.
  static let refused: [(name: String, code: ExpertError.Code, sentence: String)] = [
    (
      "allbias-tensors", .noSuchTensor,
      #"PATH/adapter_model.safetensors: the adapter brings the tensor "#
        + #""base_model.model.model.layers.0.self_attn.k_proj.bias", and the base has no "#
        + "model.layers.0.self_attn.k_proj.bias (the base's layers have no bias); it was trained on another base"
    ),
    (
      "pissa", .mutatedBase,
      #"PATH/adapter_config.json: "init_lora_weights" is "pissa": training changed the base itself, and the "#
        + "adapter alone does not fit the original; save it again with "
        + "path_initial_model_for_weight_conversion, which makes it a plain LoRA"
    ),
    (
      "vera", .unsupportedAdapter,
      #"PATH/adapter_config.json: "peft_type" is "VERA", which this tool cannot represent; "#
        + "only LORA adapters can be imported"
    ),
  ]

  @Test(arguments: refused)
  func `what cannot be represented is refused`(name: String, code: ExpertError.Code, sentence: String)
    throws
  {
    let path = "\(Scratch.fixtures)/adapters/\(name)"
    let base = try HFCheckpoint(path: Scratch.fixtures + "/tiny-llama").resolved().base
    let error = #expect(throws: ExpertError.self) { try PEFTAdapter(path: path).check(on: base) }
    #expect(error?.code == code)
    #expect(error?.description.replacingOccurrences(of: path, with: "PATH") == sentence)
  }

  @Test func `every fixture is one or the other`() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: Scratch.fixtures + "/adapters")
      .filter { !$0.hasSuffix(".json") }
    #expect(Set(names) == Set(Self.importable + Self.refused.map(\.name)))
  }
}
