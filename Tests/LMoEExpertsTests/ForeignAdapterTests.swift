import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Adapters of llama.cpp, mlx-lm and X-LoRA, out and in.
@Suite struct ForeignAdapterTests {
  /// A bundle of a family with one of its variants as the expert "x".
  private func bundle(_ scratch: Scratch, _ family: String, _ variant: String) throws -> Bundle {
    let link = scratch.path("x")
    try? FileManager.default.removeItem(atPath: link)
    try FileManager.default.createSymbolicLink(
      atPath: link, withDestinationPath: Fixture.path("variants/\(family)/\(variant)"))
    return try scratch.bundle(base: Fixture.path("families/" + family), experts: [link])
  }

  /// Module → factors, times the scaling, as floats: A and s·B.
  private func products(_ bundle: Bundle) throws -> [String: (a: [Float], b: [Float])] {
    let bank = try bundle.bank("expert/x")
    let manifest = try bundle.manifest(of: bank)
    let groups = try #require(ModuleGroup.groups(ofCard: try bundle.card(of: bank)))
    var result: [String: (a: [Float], b: [Float])] = [:]
    for group in groups {
      for module in group.targets {
        func floats(_ leaf: String) throws -> [Float] {
          let entry = try #require(manifest.tensor("base_model.model.\(module).\(leaf)"))
          let cast = try #require(CastSource(bundle.source(of: entry), entry.type, as: .f32))
          let type = try #require(TensorType(dtype: .f32, shape: entry.type.shape.map { UInt64($0) }))
          return try GGUFExportTests.floats(cast, type)
        }
        result[module] = (
          try floats("lora_A.weight"),
          try floats("lora_B.weight").map { Float(group.numbers.scaling * Double($0)) }
        )
      }
    }
    return result
  }

  static let plain = ["classic", "all-linear", "rslora", "patterns", "bf16", "f16", "mixed"]
  static let families = ["llama", "mistral", "qwen2", "qwen3"]

  @Test(arguments: families, plain) func `a GGUF adapter holds the scaled factors and comes back`(
    family: String, variant: String
  ) throws {
    let scratch = try Scratch()
    let bundle = try bundle(scratch, family, variant)
    let path = scratch.path("x.gguf")
    try GGUFExport.writeExpert("x", of: bundle, to: path)
    let file = try GGUFFile(path: path)
    let model = try bundle.baseDescription().model
    #expect(file.value("adapter.lora.alpha") == .f32(0))
    #expect(file.value("general.type") == .string("adapter"))
    let expected = try products(bundle)
    #expect(file.tensors.count == 2 * expected.count)
    for (module, factors) in expected {
      let layer = module.split(separator: ".").dropFirst(2).first.map(String.init) ?? ""
      let names = [
        "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
        "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
      ]
      let kind = module.split(separator: ".").last.map(String.init) ?? ""
      let name = "blk.\(layer).\(names[kind] ?? "?").weight"
      let a = try #require(file.tensors.first { $0.name == name + ".lora_a" }, "\(module)")
      let b = try #require(file.tensors.first { $0.name == name + ".lora_b" })
      #expect(try GGUFExportTests.floats(file.source(of: a), a.type) == factors.a)
      var rows = factors.b
      if ["llama", "mistral"].contains(family), ["q_proj", "k_proj"].contains(kind) {
        // [head][half][pair] becomes [head][pair][half].
        let (rank, half) = (b.type.shape[1], model.headDimension / 2)
        rows = (0..<b.type.shape[0]).flatMap { row in
          let (head, place) = (row / (2 * half), row % (2 * half))
          let from = (head * 2 * half) + (place % 2) * half + place / 2
          return factors.b[from * rank..<(from + 1) * rank]
        }
      }
      #expect(try GGUFExportTests.floats(file.source(of: b), b.type) == rows, "\(module)")
    }
    // In again: the same products, with the scaling in B.
    let writer = try BundleWriter(creating: scratch.path("again.lmoe"))
    let checkpoint = try HFCheckpoint(path: Fixture.path("families/" + family))
    let base = try writer.addBase(checkpoint, try checkpoint.resolved())
    try writer.addExpert(try PEFTAdapter(opening: path, on: { model }), named: "x", on: base)
    try writer.commit(note: "test")
    let again = try products(try Bundle(path: scratch.path("again.lmoe")))
    #expect(Set(again.keys) == Set(expected.keys))
    for (module, factors) in expected {
      #expect(again[module]?.a == factors.a)
      #expect(again[module]?.b == factors.b)
    }
  }

  @Test(arguments: families, plain + ["dora", "dora-rslora"])
  func `an adapter of mlx-lm comes back`(family: String, variant: String) throws {
    let scratch = try Scratch()
    let bundle = try bundle(scratch, family, variant)
    let files = try BundleExport(bundle).writeMLX("x", to: scratch.path("mlx"))
    #expect(files == ["adapter_config.json", "adapters.safetensors"])
    let configuration = try JSON(
      parsing: [UInt8](try Data(contentsOf: URL(filePath: scratch.path("mlx/adapter_config.json")))))
    #expect(configuration["fine_tune_type"] == (variant.hasPrefix("dora") ? "dora" : "lora"))
    #expect(configuration["num_layers"]?.int == (try bundle.baseDescription().model.layerCount))
    let file = try SafetensorsFile(path: scratch.path("mlx/adapters.safetensors"))
    let expected = try products(bundle)
    let rank = try #require(configuration["lora_parameters"]?["rank"]?.int)
    let scale = try #require(configuration["lora_parameters"]?["scale"]?.double)
    for (module, factors) in expected {
      let a = try #require(file.tensors.first { $0.name == module + ".lora_a" })
      let b = try #require(file.tensors.first { $0.name == module + ".lora_b" })
      #expect(a.type.shape[1] == rank && b.type.shape[0] == rank)
      func floats(_ tensor: SafetensorsTensor) throws -> [Float] {
        let cast = try #require(CastSource(file.source(of: tensor), tensor.type, as: .f32))
        return try GGUFExportTests.floats(
          cast, try #require(TensorType(dtype: .f32, shape: tensor.type.shape.map { UInt64($0) })))
      }
      let (first, second) = (try floats(a), try floats(b))
      let (input, output) = (a.type.shape[0], b.type.shape[1])
      let own = factors.a.count / input
      for column in 0..<rank {
        for place in 0..<input {
          #expect(first[place * rank + column] == (column < own ? factors.a[column * input + place] : 0))
        }
        for place in 0..<output {
          let wanted = column < own ? factors.b[place * own + column] : 0
          #expect(Float(scale * Double(second[column * output + place])) == wanted)
        }
      }
    }
    let model = try bundle.baseDescription().model
    let writer = try BundleWriter(creating: scratch.path("again.lmoe"))
    let checkpoint = try HFCheckpoint(path: Fixture.path("families/" + family))
    let base = try writer.addBase(checkpoint, try checkpoint.resolved())
    try writer.addExpert(
      try PEFTAdapter(opening: scratch.path("mlx"), on: { model }), named: "x", on: base)
    try writer.commit(note: "test")
    let copy = try Bundle(path: scratch.path("again.lmoe"))
    let again = try products(copy)
    #expect(Set(again.keys) == Set(expected.keys))
    for (module, factors) in expected where again[module]?.a.count == factors.a.count {
      #expect(again[module]?.a == factors.a)
      #expect(again[module]?.b == factors.b)
    }
    let bank = try copy.bank("expert/x")
    #expect(try copy.document("files/mlx_adapter_config.json", in: bank) != nil)
    #expect(
      try copy.manifest(of: bank).tensors.contains { $0.name.hasSuffix("lora_magnitude_vector") }
        == variant.hasPrefix("dora"))
  }

  @Test func `what other formats cannot hold is refused with the remedy`() throws {
    let scratch = try Scratch()
    let remedy = "; merge it into the base with \"lmoe-tool merge --into-base\""
    let why = [
      "dora": "it has magnitudes (DoRA)", "lora-bias": "it has biases on B (lora_bias)",
      "saved-norm": "it replaces whole tensors (modules_to_save, bias)",
      "embed-no-copy": "it changes the embedding",
      "tokens": "it replaces rows of tokens", "replicated": "it stacks layers anew (layer_replication)",
    ]
    for (variant, what) in why {
      let bundle = try bundle(scratch, "llama", variant)
      let path = scratch.path("out")
      func expect(_ format: String, _ body: () throws -> Void) {
        #expect(
          refusal(body)
            == "\(bundle.path): \"x\" cannot be exported: \(what), which \(format) cannot hold\(remedy)")
        #expect(!FileManager.default.fileExists(atPath: path))
      }
      expect("a GGUF adapter") { try GGUFExport.writeExpert("x", of: bundle, to: path) }
      expect("an X-LoRA model") {
        _ = try BundleExport(bundle).writeXLoRA([], gate: nil, layout: .original, to: path)
      }
      if variant != "dora" {
        expect("an adapter of mlx-lm") { _ = try BundleExport(bundle).writeMLX("x", to: path) }
      }
    }
    let tied = try bundle(scratch, "qwen2", "head")
    #expect(
      refusal { try GGUFExport.writeExpert("x", of: tied, to: scratch.path("out")) }.contains(
        "cannot be exported"))
  }

  @Test(arguments: BundleExport.XLoRALayout.allCases)
  func `an X-LoRA model has the gate's weights and its adapters come back`(
    layout: BundleExport.XLoRALayout
  ) throws {
    let scratch = try Scratch()
    for name in ["a", "b"] {
      try FileManager.default.createSymbolicLink(
        atPath: scratch.path(name),
        withDestinationPath: Fixture.path("variants/llama/" + (name == "a" ? "classic" : "rslora")))
    }
    let bundle = try scratch.bundle(
      base: Fixture.path("families/llama"), experts: [scratch.path("a"), scratch.path("b")])
    let files = try BundleExport(bundle).writeXLoRA([], gate: nil, layout: layout, to: scratch.path("model"))
    let isOriginal = layout == .original
    #expect(files.count == 6)
    let weights = try SafetensorsFile(
      path: scratch.path(
        "model/" + (isOriginal ? "xlora_classifier.safetensors" : "adapter_model.safetensors")))
    let stem = isOriginal ? "last" : "base_model.internal_xlora_classifier.layers.0"
    #expect(Set(weights.tensors.map(\.name)) == [stem + ".weight", stem + ".bias"])
    for tensor in weights.tensors {
      #expect(tensor.type.shape == (tensor.name.hasSuffix("bias") ? [2] : [2, 32]))
      #expect(try GGUFExportTests.floats(weights.source(of: tensor), tensor.type).allSatisfy { $0 == 0 })
    }
    let directory = try #require(try XLoRADirectory(scratch.path("model")))
    #expect(directory.adapters.map(\.name) == (isOriginal ? ["a", "b"] : ["0", "1"]))
    let model = try bundle.baseDescription().model
    for (found, name) in zip(directory.adapters, ["a", "b"]) {
      let adapter = try PEFTAdapter(opening: found.path, on: { model })
      let original = try PEFTAdapter(path: scratch.path(name))
      #expect(adapter.modules.map(\.name) == original.modules.map(\.name))
      #expect(adapter.modules.map(\.scaling) == original.modules.map(\.scaling))
    }
    // As one adapter it is refused, with those that are in it.
    let sentence = refusal { _ = try PEFTAdapter(opening: scratch.path("model"), on: { model }) }
    #expect(
      sentence.contains("X-LoRA model with 2 adapters") && sentence.contains("--xlora \(directory.path)"))
  }

  @Test func `an adapter as mlx-lm writes them`() throws {
    let model = try Fixture.model("llama").names.model
    let adapter = try PEFTAdapter(opening: Fixture.path("foreign/mlx"), on: { model })
    #expect(adapter.modules.map(\.name) == (0..<2).map { "model.layers.\($0).self_attn.q_proj" })
    #expect(adapter.modules.allSatisfy { $0.scaling == 20 && $0.rank == 2 })
    #expect(adapter.baseName == "llama")
    let classic = try SafetensorsFile(path: Fixture.path("variants/llama/classic/adapter_model.safetensors"))
    for tensor in adapter.file.tensors {
      let own = try #require(classic.tensors.first { $0.name == tensor.name }, "\(tensor.name)")
      #expect(
        try GGUFExportTests.bytes(adapter.file.source(of: tensor), tensor.type)
          == GGUFExportTests.bytes(classic.source(of: own), own.type))
    }
  }

  @Test func `an adapter in a pickle is the adapter`() throws {
    let model = try Fixture.model("llama").names.model
    let pickled = try PEFTAdapter(opening: Fixture.path("torch/adapter"), on: { model })
    let plain = try PEFTAdapter(path: Fixture.path("variants/llama/mixed"))
    #expect(pickled.modules.map(\.name) == plain.modules.map(\.name))
    #expect(pickled.modules.map(\.scaling) == plain.modules.map(\.scaling))
    #expect(pickled.file.tensors.count == plain.file.tensors.count)
    for left in pickled.file.tensors {
      let right = try #require(plain.file.tensors.first { $0.name == left.name }, "\(left.name)")
      #expect(left.type == right.type)
      #expect(
        try GGUFExportTests.bytes(pickled.file.source(of: left), left.type)
          == GGUFExportTests.bytes(plain.file.source(of: right), right.type))
    }
    // Where nobody asked for other formats, pickles stay closed.
    #expect(refusal { _ = try PEFTAdapter(path: Fixture.path("torch/adapter")) }.contains("a pickle"))
  }

  @Test func `a MixLoRA model is refused with what it holds`() throws {
    let model = try Fixture.model("llama").names.model
    let sentence = refusal { _ = try PEFTAdapter(opening: Fixture.path("torch/mixlora"), on: { model }) }
    #expect(
      sentence.contains(
        "3 experts in each of 2 feed-forward networks and 4 linear layers without experts"), "\(sentence)")
    #expect(sentence.contains("nothing was imported"))
  }

  @Test func `a mixture of feed-forward networks is refused by name`() throws {
    let scratch = try Scratch()
    for (type, says) in [("MIXLORA", "it mixes whole feed-forward networks"), ("MOLA", "in a pickle")] {
      let path = try scratch.adapter(
        factors("model.layers.0.mlp.up_proj"), [("peft_type", .string(type))], as: type)
      let model = try Fixture.model("llama").names.model
      #expect(refusal { _ = try PEFTAdapter(opening: path, on: { model }) }.contains(says))
    }
  }

  @Test func `a damaged adapter of another format is refused by name`() throws {
    let scratch = try Scratch()
    let model = try Fixture.model("llama").names.model
    func mlx(_ changes: [(String, JSON)], _ tensors: [NewEntry]) throws -> String {
      let name = "\(UUID())"
      try FileManager.default.createDirectory(atPath: scratch.path(name), withIntermediateDirectories: true)
      var configuration = JSONObject()
      for (key, value) in [
        ("fine_tune_type", "lora"), ("num_layers", 2),
        ("lora_parameters", ["rank": 1, "scale": .double(20), "dropout": 0]),
      ] as [(String, JSON)] + changes { configuration[key] = value }
      try scratch.write(
        Array(JSON.object(configuration).serialized().utf8), to: name + "/adapter_config.json")
      try SafetensorsWriter.write(scratch.path(name + "/adapters.safetensors"), tensors: tensors)
      return refusal { _ = try PEFTAdapter(opening: scratch.path(name), on: { model }) }
    }
    let q = "model.layers.0.self_attn.q_proj"
    let a = try tensor(q + ".lora_a", [32, 1], .f32)
    let b = try tensor(q + ".lora_b", [1, 64], .f32)
    #expect(try mlx([], [a, b]) == "")
    #expect(try mlx([], [a]).contains("the module \"\(q)\" has no lora_b"))
    #expect(
      try mlx([], [a, try tensor(q + ".lora_b", [2, 64], .f32)]).contains("rank 1 in lora_a and 2 in lora_b"))
    #expect(try mlx([], [a, b, try tensor(q + ".m", [64], .f32)]).contains("nothing a LoRA adapter has"))
    #expect(try mlx([("fine_tune_type", "dora")], [a, b]).contains("has no m"))
    #expect(try mlx([("fine_tune_type", "full")], [a, b]).contains("only lora and dora adapters"))
    #expect(try mlx([("lora_parameters", [:])], [a, b]).contains("lora_parameters has no scale"))
    #expect(
      try mlx(
        [],
        [
          try tensor("model.embed_tokens.lora_a", [96, 1], .f32),
          try tensor("model.embed_tokens.lora_b", [1, 32], .f32),
        ]
      ).contains("an adapted embedding of mlx-lm"))

    func gguf(_ changes: [(String, GGUFValue)], _ tensors: [NewEntry]) throws -> String {
      let path = scratch.path("\(UUID()).gguf")
      var keys: [(key: String, value: GGUFValue)] = [
        ("general.type", .string("adapter")), ("general.architecture", .string("llama")),
        ("adapter.type", .string("lora")), ("adapter.lora.alpha", .f32(2)),
      ]
      for (key, value) in changes {
        keys.removeAll { $0.key == key }
        keys.append((key, value))
      }
      try GGUFWriter.write(path, metadata: keys, tensors: tensors)
      return refusal { _ = try PEFTAdapter(opening: path, on: { model }) }
    }
    let first = try tensor("blk.0.attn_q.weight.lora_a", [1, 32], .f32)
    let second = try tensor("blk.0.attn_q.weight.lora_b", [64, 1], .f32)
    #expect(try gguf([], [first, second]) == "")
    #expect(
      try gguf([("general.type", .string("model"))], [first, second]).contains("import a model with --base"))
    #expect(
      try gguf([("general.architecture", .string("qwen2"))], [first, second]).contains(
        "the base is of the architecture llama"))
    #expect(try gguf([("adapter.type", .string("x"))], [first, second]).contains("only lora adapters"))
    #expect(try gguf([], [first]).contains("has no lora_b"))
    #expect(
      try gguf([], [first, second, try tensor("blk.0.attn_norm.weight", [32], .f32)]).contains(
        "nothing a LoRA adapter has"))
    #expect(
      try gguf([], [first, try tensor("blk.0.attn_q.weight.lora_b", [63, 1], .f32)]).contains(
        "rows for heads of 16"))
    #expect(try gguf([], []).contains("holds no LoRA tensors"))
  }

  @Test func `an expert that does not fit its base is not exported`() throws {
    let scratch = try Scratch()
    let bundle = try bundle(scratch, "llama", "classic")
    let bank = try bundle.bank("expert/x")
    var card = try #require(try bundle.card(of: bank)?.object)
    var group = try #require(card["modules"]?.array?.first?.object)
    for (key, value, says) in [
      ("rank", JSON.integer(3), "are not of rank 3"),
      (
        "targets", ["model.layers.0.mlp.up_proj"],
        "it has no tensor base_model.model.model.layers.0.mlp.up_proj"
      ),
    ] {
      let old = group[key]
      group[key] = value
      card["modules"] = [.object(group)]
      let writer = try BundleWriter(appendingTo: bundle.path)
      try writer.replaceCard(of: "expert/x", with: .object(card))
      try writer.commit(note: "test")
      let changed = try Bundle(path: bundle.path)
      let sentence = refusal { try GGUFExport.writeExpert("x", of: changed, to: scratch.path("out")) }
      #expect(sentence.contains(says), "\(sentence)")
      #expect(refusal { _ = try BundleExport(changed).writeMLX("x", to: scratch.path("out")) } == sentence)
      group[key] = old
    }
  }
}
