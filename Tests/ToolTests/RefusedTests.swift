import Foundation
import LMoECore
import Testing

/// Adapters that must not be imported: each is refused in one sentence, and leaves nothing.
@Suite(.timeLimit(.minutes(2))) struct RefusedTests {
  private let tool: Tool

  init() throws { tool = try Tool() }

  /// The whole sentence, `@` for the adapter's directory.
  static let sentences = [
    "adalora":
      #"@/adapter_config.json: "peft_type" is "ADALORA", which this tool cannot represent; only LORA adapters can be imported"#,
    "alora":
      #"@/adapter_config.json: "alora_invocation_tokens" is [5,6], which this tool cannot represent; train it as an ordinary LoRA"#,
    "arrow":
      #"@/adapter_config.json: "arrow_config" is {"rng_seed":null,"router_temperature":1.0,"top_k":3,"use_gks":false}, which this tool cannot represent; import the adapters it routes between one by one, and give the bundle a gate"#,
    "bdlora":
      #"@/adapter_config.json: "use_bdlora" is {"match_strict":true,"nblocks":2,"target_modules_bd_a":["q_proj"],"target_mod…, which this tool cannot represent; train it as an ordinary LoRA"#,
    "corda":
      #"@/adapter_config.json: "init_lora_weights" is "corda": training changed the base itself, and the adapter alone does not fit the original; save it again with path_initial_model_for_weight_conversion, which makes it a plain LoRA"#,
    "dora-missing-magnitude":
      #"@/adapter_model.safetensors: the module "model.layers.1.self_attn.v_proj" has no lora_magnitude_vector, which adapter_config.json calls for; save the adapter again"#,
    "empty":
      "@/adapter_model.safetensors holds no LoRA tensors; the adapter was saved empty: save it again",
    "half-missing":
      #"@/adapter_model.safetensors: the module "model.layers.1.self_attn.v_proj" has no lora_B, which adapter_config.json calls for; save the adapter again"#,
    "ia3":
      #"@/adapter_config.json: "peft_type" is "IA3", which this tool cannot represent; only LORA adapters can be imported"#,
    "inf":
      #"@/adapter_model.safetensors: element 34 of the tensor "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" is not a finite number; the training diverged: take an earlier checkpoint"#,
    "kasa":
      #"@/adapter_config.json: "kasa_config" is {"beta":0.0001,"gamma":0.001}, which this tool cannot represent; train it as an ordinary LoRA"#,
    "leftover":
      #"@/adapter_model.safetensors: the tensor "base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight" is nothing a LoRA adapter has; nothing was imported: remove it if it is not needed"#,
    "loftq":
      #"@/adapter_config.json: "init_lora_weights" is "loftq": training changed the base itself, and the adapter alone does not fit the original; merge it into the quantized base it was trained on"#,
    "loha":
      #"@/adapter_config.json: "peft_type" is "LOHA", which this tool cannot represent; only LORA adapters can be imported"#,
    "lora_ga":
      #"@/adapter_config.json: "init_lora_weights" is "lora_ga": training changed the base itself, and the adapter alone does not fit the original; save it again with path_initial_model_for_weight_conversion, which makes it a plain LoRA"#,
    "megatron":
      #"@/adapter_config.json: "megatron_config" is {"tensor_model_parallel_size":2}, which this tool cannot represent; train it without Megatron"#,
    "module-missing":
      #"@/adapter_model.safetensors: the module "model.layers.1.self_attn.v_proj" has no lora_A and lora_B, which adapter_config.json calls for; save the adapter again"#,
    "monteclora":
      #"@/adapter_config.json: "monteclora_config" is {"buffer_size":150,"dirichlet_prior":0.1,"kl_loss_weight":1e-05,"num_samples"…, which this tool cannot represent; train it as an ordinary LoRA"#,
    "nan":
      #"@/adapter_model.safetensors: element 34 of the tensor "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" is not a finite number; the training diverged: take an earlier checkpoint"#,
    "no-config":
      "@ has no adapter_config.json; point at the directory that save_pretrained wrote",
    "not-json":
      "@/adapter_config.json is not a valid configuration: expected a string (byte 1)",
    "olora":
      #"@/adapter_config.json: "init_lora_weights" is "olora": training changed the base itself, and the adapter alone does not fit the original; save it again with path_initial_model_for_weight_conversion, which makes it a plain LoRA"#,
    "one-dimensional":
      #"@/adapter_model.safetensors: the tensor "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" has the shape [64], and needs two dimensions; gather the shards before saving (ZeRO-3, FSDP)"#,
    "pissa":
      #"@/adapter_config.json: "init_lora_weights" is "pissa": training changed the base itself, and the adapter alone does not fit the original; save it again with path_initial_model_for_weight_conversion, which makes it a plain LoRA"#,
    "pissa_niter_4":
      #"@/adapter_config.json: "init_lora_weights" is "pissa_niter_4": training changed the base itself, and the adapter alone does not fit the original; save it again with path_initial_model_for_weight_conversion, which makes it a plain LoRA"#,
    "qalora":
      #"@/adapter_config.json: "use_qalora" is true, which this tool cannot represent; train it as an ordinary LoRA"#,
    "rank-contradiction":
      #"@/adapter_model.safetensors: the module "model.layers.0.self_attn.q_proj" has rank 1 in its tensors and 2 in adapter_config.json"#,
    "target-parameters":
      #"@/adapter_config.json: "target_parameters" is ["self_attn.q_proj.weight"], which this tool cannot represent; train it with target_modules"#,
    "velora":
      #"@/adapter_config.json: "velora_config" is {"init_type":"batch_average","num_groups":64,"scale":1.0}, which this tool cannot represent; train it as an ordinary LoRA"#,
    "vera":
      #"@/adapter_config.json: "peft_type" is "VERA", which this tool cannot represent; only LORA adapters can be imported"#,
    "vocabulary-resized":
      #"@/adapter_model.safetensors: the tensor "base_model.model.model.embed_tokens.lora_embedding_A" is for a vocabulary of 100, and the base has 96 tokens; import the base with the vocabulary it was trained with"#,
    "wrong-module":
      #"@/adapter_model.safetensors: the adapter changes "model.layers.7.self_attn.q_proj", which the base does not have; it was trained on another base"#,
    "wrong-shape":
      #"@/adapter_model.safetensors: the adapter's tensors for "model.layers.0.self_attn.q_proj" are for a weight of [64, 40], and the base has [64, 32]; it was trained on another base"#,
    "xlora":
      "@/0 has no adapter_config.json; point at the directory that save_pretrained wrote",
    "zero-rank":
      #"@/adapter_model.safetensors: the tensor "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" has the shape [0, 32]: nothing is in it, and needs a rank of at least one"#,
  ]

  private static let directory = "\(Tool.fixtures)/variants/refused"

  @Test func `every refusal is there`() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: Self.directory)
    #expect(Set(names) == Set(Self.sentences.keys).union(["index.json"]))
    let index = try JSON(
      parsing: [UInt8](try Data(contentsOf: URL(filePath: "\(Self.directory)/index.json"))))
    #expect(Set(index.object?.members.map(\.key) ?? []) == Set(Self.sentences.keys))
    #expect(Self.sentences.count == 35)
  }

  private func expectRefused(_ arguments: [String], _ name: String) throws {
    let names = try tool.names()
    let output = try tool.run(arguments)
    #expect(output.status == 3 && output.out == "" && !output.wasKilled)
    let sentence = try #require(Self.sentences[name])
      .replacingOccurrences(of: "@", with: "\(Self.directory)/\(name)")
    let lines = output.err.split(separator: "\n").filter { !$0.hasPrefix("Note: ") }
    #expect(lines.map { withoutSuggestion(String($0)) } == ["Error: " + sentence])
    #expect(try tool.names() == names, "something was left")
  }

  @Test(arguments: sentences.keys.sorted()) func `an adapter that must not be imported`(name: String) throws {
    let family = "\(Tool.fixtures)/families/llama"
    let adapter = "x=\(Self.directory)/\(name)"
    try expectRefused(["import", "--base", family, "--expert", adapter, "-o", "a.lmoe"], name)
    // The same where the base is in a bundle already, which stays as it is.
    #expect(try tool.run("import", "--base", family, "-o", "b.lmoe").status == 0)
    let bytes = try tool.contents("b.lmoe")
    try expectRefused(["add", "b.lmoe", adapter], name)
    #expect(try tool.contents("b.lmoe") == bytes)
  }
}
