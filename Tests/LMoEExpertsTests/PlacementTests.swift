import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

/// Tensors that PEFT would load otherwise than their names suggest, or not at all.
@Suite struct PlacementTests {
  typealias Tensor = (name: String, dtype: DType, shape: [UInt64])

  static let q = "model.layers.0.self_attn.q_proj"
  static let embedding = "model.embed_tokens"

  /// Factors for q_proj of every layer of tiny-llama.
  static let factors: [Tensor] = (0..<3).flatMap { layer -> [Tensor] in
    let module = "model.layers.\(layer).self_attn.q_proj"
    return [("\(module).lora_A.weight", .f32, [1, 64]), ("\(module).lora_B.weight", .f32, [64, 1])]
  }

  private func place(
    _ tensors: [Tensor], _ changes: [(String, JSON)] = [("target_modules", ["q_proj"])]
  ) throws -> LoRAExpert {
    let scratch = try Scratch()
    let adapter = try PEFTAdapter(path: try scratch.adapter(Self.factors + tensors, changes))
    return try LoRAExpert(adapter, on: try scratch.bundle().baseDescription())
  }

  private func expect(
    _ code: ExpertError.Code, _ name: String?, _ tensors: [Tensor],
    _ changes: [(String, JSON)] = [("target_modules", ["q_proj"])],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: ExpertError.self, sourceLocation: sourceLocation) {
      _ = try place(tensors, changes)
    }
    #expect(error?.code == code, sourceLocation: sourceLocation)
    if let name { #expect(error?.name == name, sourceLocation: sourceLocation) }
  }

  @Test func `whole tensors where PEFT does not look for them`() throws {
    #expect(try place([]).replacements.isEmpty)
    expect(.unannouncedTensor, "base_model.model.\(Self.q).weight", [("\(Self.q).weight", .bf16, [64, 64])])
    let v = "model.layers.0.self_attn.v_proj.base_layer.weight"
    expect(.unannouncedTensor, "base_model.model." + v, [(v, .bf16, [32, 64])])
    expect(
      .unannouncedTensor, nil, [("\(Self.embedding).token_adapter.base_layer.weight", .bf16, [320, 64])])
    // Where it does, they come in.
    let copy = try place([("\(Self.q).base_layer.weight", .bf16, [64, 64])])
    #expect(copy.replacements.map(\.tensor) == ["\(Self.q).weight"])
    let rows = try place(
      [
        ("\(Self.embedding).token_adapter.base_layer.weight", .bf16, [320, 64]),
        ("\(Self.embedding).token_adapter.trainable_tokens_delta", .f32, [2, 64]),
      ], [("target_modules", ["q_proj"]), ("trainable_token_indices", [3, 5])])
    // Shared with the head of a tied model.
    #expect(Set(rows.replacements.map(\.tensor)) == ["model.embed_tokens.weight", "lm_head.weight"])
    #expect(rows.tokens.map(\.indices) == [[3, 5]] && rows.tokens.map(\.isTied) == [true])
  }

  @Test func `the two ends of a tied model`() throws {
    let ends: [Tensor] = [
      ("\(Self.embedding).weight", .bf16, [320, 64]), ("lm_head.weight", .bf16, [320, 64]),
    ]
    // Equal, as zeros are.
    #expect(try place(ends).replacements.count == 2)
    expect(
      .duplicateFactor, nil, [ends[0], ("lm_head.weight", .f32, [320, 64])])
    // Saved modules have tensors of their own.
    let saved: [(String, JSON)] = [
      ("target_modules", ["q_proj"]), ("modules_to_save", ["embed_tokens", "lm_head"]),
    ]
    #expect(try place([ends[0], ("lm_head.weight", .f32, [320, 64])], saved).replacements.count == 2)
  }

  @Test func `saved modules without their tensors`() throws {
    let saved: (JSON) -> [(String, JSON)] = { [("target_modules", ["q_proj"]), ("modules_to_save", $0)] }
    expect(.missingFactor, "lm_head", [], saved(["lm_head"]))
    expect(
      .missingFactor, "model.layers.1.input_layernorm",
      [("model.layers.0.input_layernorm.weight", .f32, [64])], saved(["input_layernorm"]))
    expect(.missingFactor, "model.layers.0.mlp", [], saved(["mlp"]))
    // What the model does not have is nothing that could be missing.
    #expect(try place([], saved(["score"])).replacements.isEmpty)
  }

  @Test func `what PEFT saves of a resized vocabulary`() throws {
    let names = ["weight", "modules_to_save.weight", "original_module.weight"]
    let expert = try place(
      names.map { ("lm_head.\($0)", .bf16, [320, 64]) },
      [("target_modules", ["q_proj"]), ("modules_to_save", ["lm_head"])])
    #expect(expert.replacements.map(\.tensor) == ["lm_head.weight"])
    // And comes out as it came in.
    let scratch = try Scratch()
    let directory = try scratch.adapter(
      Self.factors + names.map { ("lm_head.\($0)", .bf16, [320, 64]) },
      [("target_modules", ["q_proj"]), ("modules_to_save", ["lm_head"])])
    let bundle = try scratch.bundle(experts: [directory])
    try BundleExport(bundle).write("expert/adapter", to: scratch.path("out"))
    #expect(try Scratch.contents(scratch.path("out")) == Scratch.contents(directory))
    // Written anew it has what counts, once.
    try BundleExport(bundle).writeAdapter("adapter", to: scratch.path("new"))
    let file = try SafetensorsFile(path: scratch.path("new/adapter_model.safetensors"))
    #expect(
      file.tensors.map(\.name).filter { $0.contains("lm_head") } == ["base_model.model.lm_head.weight"])
  }

  @Test func `tied ends that differ`() throws {
    let scratch = try Scratch()
    let ends: [Tensor] = [
      ("\(Self.embedding).lora_embedding_A", .f32, [1, 320]),
      ("\(Self.embedding).lora_embedding_B", .f32, [64, 1]),
      ("lm_head.lora_A.weight", .f32, [1, 64]), ("lm_head.lora_B.weight", .f32, [320, 1]),
    ]
    let directory = try scratch.adapter(
      Self.factors + ends, [("target_modules", ["q_proj", "embed_tokens"]), ("ensure_weight_tying", true)])
    func notes() throws -> [String] {
      let writer = try BundleWriter(appendingTo: try scratch.bundle().path)
      defer { writer.abort() }
      return try writer.addExpert(
        try PEFTAdapter(path: directory), named: "x", on: try writer.baseDescription()
      ).notes
    }
    #expect(try notes() == [])
    try editTensors(directory + "/adapter_model.safetensors") { entries in
      for index in entries.indices where entries[index].name.hasSuffix("lm_head.lora_B.weight") {
        let bytes = [UInt8](repeating: 0, count: 4 * 319) + [0, 0, 128, 63]
        entries[index] = NewEntry(
          tensor: entries[index].name, type: entries[index].type, source: MemorySource(bytes))
      }
    }
    #expect(try notes().count == 1 && notes().first?.contains("ensure_weight_tying") == true)
  }

  @Test func `DoRA with a bias on B`() throws {
    let error = #expect(throws: ExpertError.self) {
      _ = try place([], [("target_modules", ["q_proj"]), ("use_dora", true), ("lora_bias", true)])
    }
    #expect(error?.code == .unsupportedAdapter && error?.name == "lora_bias")
  }

  @Test(
    arguments: [
      ("", [0, 1, 2]), ("layers", [0, 1, 2]), ("model.layers", [0, 1, 2]), ("la.ers", [0, 1, 2]),
      ("blocks", nil),
      (["blocks", "layers"], [0, 1, 2]), ("odel.layers", nil), (nil, [0, 1, 2, -1]), (nil, [0, 1]),
    ] as [(JSON, JSON)]) func `layers_pattern`(pattern: JSON, layers: JSON) throws
  {
    let changes: [(String, JSON)] = [
      ("target_modules", ["q_proj"]), ("layers_pattern", pattern),
      ("layers_to_transform", layers.isNull ? [0, 1, 2] : layers),
    ]
    if layers.isNull || layers == [0, 1] {
      expect(.untargetedModule, nil, [], changes)
    } else {
      #expect(try place([], changes).notes.isEmpty)
    }
  }

  @Test func `the head of another task`() {
    expect(.taskHead, "base_model.model.score.weight", [("score.weight", .f32, [2, 64])])
  }

  @Test func `a scaling beyond float32`() {
    expect(.invalidConfiguration, nil, [], [("target_modules", ["q_proj"]), ("lora_alpha", .double(1e300))])
  }
}
