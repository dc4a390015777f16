import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Checkpoints of every family, resolved as transformers has them.
@Suite struct FamilyTests {
  static let families = Fixture.directories(in: "families")

  @Test func `every family is there`() {
    #expect(
      Self.families == [
        "llama", "llama-bare", "llama-biased", "llama-f16", "llama-f32", "llama-shipped", "llama-v4",
        "llama-yarn", "mistral", "mistral-full", "qwen2", "qwen2-untied", "qwen3", "qwen3-untied",
      ])
  }

  @Test(arguments: families) func `the configuration is that of transformers`(family: String) throws {
    let expected = try Fixture.expected("families/" + family)
    let resolved = try Fixture.model(family)
    let model = resolved.names.model
    #expect(model.family.rawValue == expected["model_type"]?.string)
    #expect(model.hiddenSize == expected["hidden_size"]?.int)
    #expect(model.intermediateSize == expected["intermediate_size"]?.int)
    #expect(model.layerCount == expected["num_hidden_layers"]?.int)
    #expect(model.headCount == expected["num_attention_heads"]?.int)
    #expect(model.keyValueHeadCount == expected["num_key_value_heads"]?.int)
    #expect(model.headDimension == expected["head_dim"]?.int)
    #expect(model.vocabularySize == expected["vocab_size"]?.int)
    #expect(model.maximumPositions == expected["max_position_embeddings"]?.int)
    #expect(model.normEpsilon == expected["rms_norm_eps"]?.double)
    #expect(model.tiesEmbeddings == expected["tie_word_embeddings"]?.bool)
    let windows = try #require(expected["layer_windows"]?.array)
    #expect(model.slidingWindows == windows.map(\.int))
    let types = expected["layer_types"]?.array?.map(\.string)
    #expect(types == model.slidingWindows.map { $0 == nil ? "full_attention" : "sliding_attention" })
    #expect(model.normalisesQueriesAndKeys == family.hasPrefix("qwen3"))
    #expect(
      model.biases.queryKeyValue == (family.hasPrefix("qwen2") || family == "llama-biased")
        && model.biases.attentionOutput == (family == "llama-biased")
        && model.biases.feedForward == (family == "llama-biased"))
    let parameters = model.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
    #expect(parameters == expected["parameters"]?.int)
    #expect(resolved.unknownKeys == [])
    #expect(
      resolved.notes == ["no tokenizer files: commands that need text will refuse this bundle"])
  }

  @Test(arguments: families) func `the rotary embedding is that of transformers`(family: String) throws {
    let expected = try #require(try Fixture.expected("families/" + family)["rope"])
    let given = { (key: String) in expected["parameters"]?[key]?.double }
    let rotary = try Fixture.model(family).names.model.rotary
    #expect(rotary.theta == expected["theta"]?.double)
    let scale = try #require(expected["attention_scaling"]?.double)
    switch rotary.scaling {
    case .none:
      #expect(expected["type"] == "default" && scale == 1)
    case .linear(let factor):
      #expect(expected["type"] == "linear" && factor == given("factor") && scale == 1)
    case .dynamic(let factor):
      #expect(expected["type"] == "dynamic" && factor == given("factor") && scale == 1)
    case .llama3(let factor, let low, let high, let original):
      #expect(expected["type"] == "llama3" && factor == given("factor") && scale == 1)
      #expect(low == given("low_freq_factor") && high == given("high_freq_factor"))
      #expect(Double(original) == given("original_max_position_embeddings"))
    case .yarn(let factor, let original, let fast, let slow, let attention, let truncates):
      #expect(expected["type"] == "yarn" && factor == given("factor"))
      #expect(Double(original) == given("original_max_position_embeddings"))
      #expect(fast == given("beta_fast") && slow == given("beta_slow") && truncates)
      #expect(abs(attention - scale) <= 1e-12 * scale)
    }
  }

  @Test(arguments: families) func `every tensor has its place`(family: String) throws {
    let checkpoint = try HFCheckpoint(path: Fixture.path("families/" + family))
    let names = try checkpoint.resolved().names
    let shapes = Dictionary(
      uniqueKeysWithValues: checkpoint.tensors.map { ($0.tensor.name, $0.tensor.type.shape) })
    var places: Set<String> = []
    for expected in names.model.tensors {
      let stored = try #require(names.stored(expected.name))
      #expect(shapes[stored] == expected.shape && names.shape(expected.name) == expected.shape)
      #expect(places.insert(stored).inserted)
      #expect(stored == (family == "llama-bare" ? String(expected.name.dropFirst(6)) : expected.name))
    }
    #expect(Set(shapes.keys).subtracting(places) == (family == "llama-shipped" ? ["lm_head.weight"] : []))
    // The head of a tied model is its embedding.
    let head = names.model.tiesEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight"
    #expect(names.stored("lm_head.weight") == names.stored(head))
    #expect(names.modules.contains("lm_head") && names.stored("model.ghost.weight") == nil)
  }

  @Test(arguments: families) func `the card says the same`(family: String) throws {
    let model = try Fixture.model(family).names.model
    let text = model.json.serialized(pretty: true)
    #expect(ModelConfiguration(card: try JSON(parsing: Array(text.utf8))) == model)
    // A card that lacks anything is not read as something else.
    for key in try #require(model.json.object).members.map(\.key) {
      var object = try #require(model.json.object)
      object[key] = nil
      #expect(ModelConfiguration(card: .object(object)) == nil, "\(key)")
      object[key] = "x"
      #expect(ModelConfiguration(card: .object(object)) == nil, "\(key)")
    }
    let scratch = try Scratch()
    let bundle = try scratch.bundle(base: Fixture.path("families/" + family), embeds: false)
    #expect(try bundle.baseDescription().model == model)
    #expect(try bundle.card(of: bundle.bank("base"))?["model"] == model.json)
  }

  @Test(arguments: families, CodecPolicy.allCases)
  func `export gives back every byte`(family: String, codec: CodecPolicy) throws {
    let scratch = try Scratch()
    let source = Fixture.path("families/" + family)
    let bundle = try scratch.bundle(base: source, codec: codec)
    #expect(try bundle.verify(decoding: true) == [])
    try BundleExport(bundle).write("base", to: scratch.path("out"))
    let files = try Scratch.contents(source)
    #expect(try Scratch.contents(scratch.path("out")) == files && files.count >= 2)
  }

  /// The configuration as transformers 4 spells it.
  private func inOldSpelling(_ family: String) throws -> JSON {
    var object = try #require(try Fixture.json("families/\(family)/config.json").object)
    if var rope = object["rope_parameters"]?.object {
      object["rope_theta"] = rope["rope_theta"]
      rope["rope_theta"] = nil
      let type = rope["rope_type"]
      object["rope_scaling"] = type == "default" ? .null : .object(rope)
      object["rope_parameters"] = nil
    }
    object["torch_dtype"] = object["dtype"]
    object["dtype"] = nil
    // There, only the number of the first layer with a window tells which have one.
    object["layer_types"] = nil
    return .object(object)
  }

  @Test(arguments: families) func `both spellings of transformers are one`(family: String) throws {
    let old = try inOldSpelling(family)
    #expect(old["rope_theta"] != nil && old["rope_parameters"] == nil)
    let (model, unknown) = try ModelConfiguration.parse(old, path: "old")
    #expect(try model == Fixture.model(family).names.model)
    #expect(unknown == [])
  }

  @Test func `a head that is shipped along`() throws {
    #expect(try Fixture.model("llama-shipped").names.model.tiesEmbeddings)
    let scratch = try Scratch()
    let path = try scratch.copy("families/llama-shipped")
    try editTensors(path + "/model.safetensors") { tensors in
      let place = try #require(tensors.firstIndex { $0.name == "lm_head.weight" })
      tensors[place] = try tensor("lm_head.weight", [96, 32])
    }
    let model = try HFCheckpoint(path: path).resolved()
    #expect(!model.names.model.tiesEmbeddings && model.names.stored("lm_head.weight") == "lm_head.weight")
    #expect(
      model.notes.first
        == "config.json ties the head to the embedding, but the file has an lm_head.weight with other values; it is used, as transformers 5 does"
    )
    // The embedding may be what is left out.
    try editTensors(path + "/model.safetensors") { $0.removeAll { $0.name == "model.embed_tokens.weight" } }
    let names = try HFCheckpoint(path: path).resolved().names
    #expect(names.model.tiesEmbeddings && names.stored("model.embed_tokens.weight") == "lm_head.weight")
  }
}
