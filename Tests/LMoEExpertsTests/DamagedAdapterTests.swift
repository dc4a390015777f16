import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import class LMoEFormat.Bundle
import Testing

/// Adapters that are broken, or of another base.
@Suite struct DamagedAdapterTests {
  /// A change to a copy of the adapter `math`.
  struct Damage: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let code: ExpertError.Code
    var name: String?
    let apply: @Sendable (String) throws -> Void
  }

  private static func setting(_ key: String, _ value: JSON) -> @Sendable (String) throws -> Void {
    { path in try edit(path + "/adapter_config.json") { $0[key] = value } }
  }

  private static func text(_ text: String) -> @Sendable (String) throws -> Void {
    { path in try Data(text.utf8).write(to: URL(filePath: path + "/adapter_config.json")) }
  }

  static let damages: [Damage] = [
    Damage(testDescription: "no configuration", code: .noConfiguration) {
      try FileManager.default.removeItem(atPath: $0 + "/adapter_config.json")
    },
    Damage(testDescription: "no weights", code: .noWeights) {
      try FileManager.default.removeItem(atPath: $0 + "/adapter_model.safetensors")
    },
    Damage(testDescription: "weights of another kind", code: .pickledWeights, name: "adapter_model.bin") {
      try FileManager.default.moveItem(
        atPath: $0 + "/adapter_model.safetensors", toPath: $0 + "/adapter_model.bin")
    },
    Damage(testDescription: "saved empty", code: .emptyAdapter) {
      let head: [UInt8] = [32, 0, 0, 0, 0, 0, 0, 0] + Array("{\"__metadata__\":{\"format\":\"pt\"}}".utf8)
      #expect(head.count == 40)
      try Data(head).write(to: URL(filePath: $0 + "/adapter_model.safetensors"))
    },
    Damage(testDescription: "not JSON", code: .invalidConfiguration, apply: text("{\"r\": 8,}")),
    Damage(testDescription: "an array", code: .invalidConfiguration, apply: text("[]")),
    Damage(testDescription: "a key twice", code: .invalidConfiguration, apply: text("{\"r\": 8, \"r\": 4}")),
    Damage(testDescription: "no peft_type", code: .invalidConfiguration, apply: text("{\"r\": 8}")),
    Damage(
      testDescription: "another peft_type", code: .unsupportedAdapter, name: "peft_type",
      apply: setting("peft_type", "LOHA")),
    Damage(testDescription: "rank 0", code: .invalidConfiguration, apply: setting("r", 0)),
    Damage(testDescription: "rank -8", code: .invalidConfiguration, apply: setting("r", -8)),
    Damage(testDescription: "rank 2.5", code: .invalidConfiguration, apply: setting("r", .double(2.5))),
    Damage(testDescription: "rank 1e30", code: .invalidConfiguration, apply: setting("r", .double(1e30))),
    Damage(testDescription: "rank as text", code: .invalidConfiguration, apply: setting("r", "8")),
    Damage(testDescription: "alpha as text", code: .invalidConfiguration, apply: setting("lora_alpha", "16")),
    Damage(
      testDescription: "rank pattern is a list", code: .invalidConfiguration,
      apply: setting("rank_pattern", [["q", 1]])),
    Damage(
      testDescription: "rank 0 in a pattern", code: .invalidConfiguration,
      apply: setting("rank_pattern", ["q_proj": 0])),
    Damage(
      testDescription: "alpha as text in a pattern", code: .invalidConfiguration,
      apply: setting("alpha_pattern", ["q_proj": "1"])),
    Damage(
      testDescription: "another rank", code: .rankMismatch, name: "model.layers.0.self_attn.q_proj",
      apply: setting("r", 4)),
    Damage(
      testDescription: "another rank by pattern", code: .rankMismatch,
      name: "model.layers.1.self_attn.v_proj",
      apply: setting("rank_pattern", ["layers.1.self_attn.v_proj": 3])),
    Damage(testDescription: "an unknown bias", code: .invalidConfiguration, apply: setting("bias", "some")),
    Damage(
      testDescription: "replicated layers that are no ranges", code: .invalidConfiguration,
      apply: setting("layer_replication", [[0, 2], [3, 1]])),
    Damage(
      testDescription: "trainable tokens without rows", code: .missingFactor, name: "embed_tokens",
      apply: setting("trainable_token_indices", [5])),
    Damage(
      testDescription: "tokens below zero", code: .invalidConfiguration,
      apply: setting("trainable_token_indices", [-5])),
    Damage(
      testDescription: "DoRA without magnitudes", code: .missingFactor,
      name: "model.layers.0.self_attn.q_proj",
      apply: setting("use_dora", true)),
    Damage(
      testDescription: "a bias on B that is not there", code: .missingFactor,
      name: "model.layers.0.self_attn.q_proj", apply: setting("lora_bias", true)),
    Damage(
      testDescription: "olora", code: .mutatedBase, name: "init_lora_weights",
      apply: setting("init_lora_weights", "olora")),
  ]

  @Test(arguments: damages) func `damage to the directory or its configuration`(damage: Damage) throws {
    let scratch = try Scratch()
    let path = try scratch.copy("adapters/math")
    _ = try PEFTAdapter(path: path)
    try damage.apply(path)
    let error = #expect(throws: ExpertError.self) { _ = try PEFTAdapter(path: path) }
    #expect(error?.code == damage.code)
    if let name = damage.name { #expect(error?.name == name) }
    #expect(error?.path.hasPrefix(path) == true)
    #expect(error?.description.contains("\n") == false)
  }

  /// Tensors of a new adapter of rank 1 with a good module beside them, and the tensor or module at fault.
  static let badFactors:
    [(tensors: [(name: String, dtype: DType, shape: [UInt64])], code: ExpertError.Code, name: String)] = [
      ([("v.lora_A.weight", .f32, [1, 2])], .missingFactor, "v"),
      ([("v.lora_B.weight", .f32, [2, 1])], .missingFactor, "v"),
      (
        [("v.lora_A.weight", .f32, [0, 2]), ("v.lora_B.weight", .f32, [2, 0])], .invalidFactor,
        "base_model.model.v.lora_A.weight"
      ),
      (
        [("v.lora_A.weight", .f32, [1, 0]), ("v.lora_B.weight", .f32, [2, 1])], .invalidFactor,
        "base_model.model.v.lora_A.weight"
      ),
      (
        [("v.lora_A.weight", .f32, [2]), ("v.lora_B.weight", .f32, [2, 1])], .invalidFactor,
        "base_model.model.v.lora_A.weight"
      ),
      ([("v.lora_A.weight", .f32, [1, 2, 1, 1])], .invalidFactor, "base_model.model.v.lora_A.weight"),
      (
        [("v.lora_A.weight", .i8, [1, 2]), ("v.lora_B.weight", .f32, [2, 1])], .invalidFactor,
        "base_model.model.v.lora_A.weight"
      ),
      ([("v.lora_A.weight", .f32, [1, 2]), ("v.lora_B.weight", .f32, [2, 2])], .invalidFactor, "v"),
      ([("v.lora_A.weight", .f32, [2, 2]), ("v.lora_B.weight", .f32, [2, 2])], .rankMismatch, "v"),
      ([("v.lora_magnitude_vector", .f32, [2])], .missingFactor, "v"),
      (
        factors("v") + [("v.lora_magnitude_vector", .f32, [3])], .unannouncedTensor,
        "base_model.model.v.lora_magnitude_vector"
      ),
      (factors("v") + [("v.lora_B.bias", .f32, [3])], .unannouncedTensor, "base_model.model.v.lora_B.bias"),
      (
        [("v.token_adapter.trainable_tokens_delta", .f32, [1, 2])], .unannouncedTensor,
        "base_model.model.v.token_adapter.trainable_tokens_delta"
      ),
      (
        factors("v") + [("v.lora_A.default.weight", .f32, [1, 2])], .duplicateFactor,
        "base_model.model.v.lora_A.weight"
      ),
      (
        factors("v") + [("v.lora_embedding_A", .f32, [1, 2]), ("v.lora_embedding_B", .f32, [2, 1])],
        .duplicateFactor, "base_model.model.v.lora_A.weight"
      ),
      ([("v.lora_C.weight", .f32, [1, 2])], .unknownTensor, "base_model.model.v.lora_C.weight"),
      ([("lora_A.weight", .f32, [1, 2])], .unknownTensor, "base_model.model.lora_A.weight"),
    ]

  @Test(arguments: badFactors.indices) func `factors that do not pair`(index: Int) throws {
    let (tensors, code, name) = Self.badFactors[index]
    let scratch = try Scratch()
    let path = try scratch.adapter(
      factors("model.layers.0.self_attn.q_proj", input: 64, output: 64) + tensors)
    let error = #expect(throws: ExpertError.self) {
      let adapter = try PEFTAdapter(path: path)
      // Only a base can tell what is no tensor of it.
      try adapter.check(on: HFCheckpoint(path: Scratch.fixtures + "/tiny-llama").resolved().base)
    }
    #expect(error?.code == code && error?.name == name)
    #expect(error?.path == path + "/adapter_model.safetensors")
  }

  @Test func `another base`() throws {
    let scratch = try Scratch()
    let base = try scratch.bundle().baseDescription()
    #expect(base.sourceID != nil)
    let q = "model.layers.0.self_attn.q_proj"
    for (module, input, output, code) in [
      (q, 64, 64, nil), (q, 32, 64, .shapeMismatch), (q, 64, 32, .shapeMismatch),
      ("model.layers.0.mlp.down_proj", 64, 160, .shapeMismatch),
      ("model.layers.3.self_attn.q_proj", 64, 64, .noSuchModule), ("lm_head", 64, 320, nil),
      ("lm_head", 64, 319, .resizedVocabulary), ("model.norm", 64, 64, .wrongKind),
      ("model.embed_tokens", 64, 320, .wrongKind),
    ] as [(String, UInt64, UInt64, ExpertError.Code?)] {
      let adapter = try PEFTAdapter(
        path: try scratch.adapter(
          factors(module, input: input, output: output), [("target_modules", [.string(module)])]))
      guard let code else {
        try adapter.check(on: base)
        continue
      }
      let error = #expect(throws: ExpertError.self) { try adapter.check(on: base) }
      #expect(error?.code == code && error?.name?.contains(module) == true, "\(module)")
    }
  }

  @Test func `unknown keys are named, not refused`() throws {
    let scratch = try Scratch()
    let path = try scratch.copy("adapters/math")
    let keys = (0..<40).map { "new_key_\($0)" }
    try edit(path + "/adapter_config.json") { object in
      for (number, key) in keys.enumerated() { object[key] = [true, 1, "x", ["a": 1], [0]][number % 5] }
      // What is off is no news.
      for (key, value) in [
        ("off_1", nil), ("off_2", false), ("off_3", 0), ("off_4", ""), ("off_5", []), ("off_6", [:]),
      ] as [(String, JSON)] {
        object[key] = value
      }
    }
    let adapter = try PEFTAdapter(path: path)
    #expect(adapter.unknownKeys == keys)
    #expect(adapter.modules == (try PEFTAdapter(path: Scratch.fixtures + "/adapters/math").modules))
  }

  /// Whether an initialisation may be named: the base is as it was, or it is not.
  private func accepts(_ changes: [(String, JSON)]) throws -> Bool {
    let scratch = try Scratch()
    let path = try scratch.adapter(factors("q"), changes)
    do {
      _ = try PEFTAdapter(path: path)
      return true
    } catch let error as ExpertError {
      #expect([.mutatedBase, .invalidConfiguration].contains(error.code))
      return false
    }
  }

  @Test func `initialisations`() throws {
    for harmless in [true, false, "gaussian", "eva", "orthogonal", "mica", nil] as [JSON] {
      #expect(try accepts([("init_lora_weights", harmless)]), "\(harmless.serialized())")
    }
    for harmful in ["pissa", "pissa_niter_16", "olora", "OLoRA", "corda", "loftq", "something new"] as [JSON]
    {
      #expect(try !accepts([("init_lora_weights", harmful)]), "\(harmful.serialized())")
    }
  }

  @Test
  func `LoRA-GA changes the base`() throws {
    #expect(try !accepts([("init_lora_weights", "lora_ga")]))
  }

  @Test(
    arguments: [("use_rslora", "true"), ("use_rslora", 1), ("r", nil), ("lora_alpha", nil)]
      as [(String, JSON)])
  func `values that change numbers are never guessed`(key: String, value: JSON) throws {
    #expect(try !accepts([("r", 8), ("rank_pattern", ["q": 1]), (key, value)]))
  }
}
