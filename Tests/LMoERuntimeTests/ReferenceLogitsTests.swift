import LMoEExperts
import LMoEFormat
import LMoERuntime
import Testing

import class LMoEFormat.Bundle

/// The numbers are those of transformers and PEFT.
@Suite struct ReferenceLogitsTests {
  static let families = RuntimeFixture.directories(in: "families")
  static let variants = ["llama", "mistral", "qwen2", "qwen3"].flatMap { family in
    RuntimeFixture.directories(in: "variants/" + family).map { family + "/" + $0 }
  }

  /// The largest deviation at the positions whose logits are stored.
  private func deviation(_ model: Model, from name: String, _ prefix: String = "") throws -> Double {
    let reference = try Reference(name)
    let tokens = try reference.integers(prefix + "input_ids")
    let all = try model.logits(tokens)
    let positions = try reference.integers(prefix + "positions")
    let shape = try reference.shape(prefix + "logits")
    let values = try reference.floats(prefix + "logits")
    let vocabulary = try #require(shape.last)
    let expected = positions.indices.map { Array(values[$0 * vocabulary..<($0 + 1) * vocabulary]) }
    return LMoERuntimeTests.deviation(positions.map { all[$0] }, expected)
  }

  @Test func `every family and every variant is there`() {
    #expect(Self.families.count == 14 && Self.variants.count == 150)
  }

  @Test(arguments: families) func `a base`(name: String) throws {
    let fixture = try RuntimeFixture()
    for codec in [CodecPolicy.planes, .raw] {
      let base = try LoadedBase(
        fixture.bundle(base: "families/" + name, codec: codec), on: RuntimeFixture.pool)
      #expect(base.isMapped == (codec == .raw))
      let model = try Model(base)
      #expect(try deviation(model, from: "families/\(name).logits.safetensors") <= 1e-5)
      if try Reference("families/\(name).logits.safetensors").has("long.input_ids") {
        #expect(try deviation(model, from: "families/\(name).logits.safetensors", "long.") <= 1e-5)
      }
    }
  }

  @Test(arguments: variants) func `an expert outright`(variant: String) throws {
    let family = String(try #require(variant.split(separator: "/").first))
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(
      base: "families/" + family, experts: [("x", "variants/" + variant)])
    let model = try Model(LoadedBase(bundle, on: RuntimeFixture.pool), selection: .expert("x"))
    #expect(try deviation(model, from: "variants/\(variant).logits.safetensors") <= 2e-5)
  }

  @Test(arguments: ["arithmetic", "json", "sql", "verse"]) func `the trained model`(name: String) throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(base: "embedded/base", experts: [(name, "embedded/" + name)])
    let base = try LoadedBase(bundle, on: RuntimeFixture.pool)
    let reference = try Reference("embedded/logits.safetensors")
    for (who, selection) in [
      ("base", Selection.base), (name, .expert(name)), (name, .weights([.init(name, 1)])),
    ] {
      let tokens = try reference.integers("input_ids." + name)
      let values = try reference.floats("logits.\(name).\(who)")
      let count = try reference.shape("logits.\(name).\(who)")[1]
      let vocabulary = values.count / count
      let expected = (0..<count).map { Array(values[$0 * vocabulary..<($0 + 1) * vocabulary]) }
      let found = try Model(base, selection: selection).logits(tokens)
      #expect(LMoERuntimeTests.deviation(Array(found.suffix(count)), expected) <= 2e-5)
    }
  }
}
