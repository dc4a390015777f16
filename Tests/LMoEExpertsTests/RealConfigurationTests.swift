import LMoECore
import Testing

@testable import LMoEExperts

/// `config.json` as well-known checkpoints have it.
@Suite struct RealConfigurationTests {
  struct Published: Sendable, CustomTestStringConvertible {
    let name: String
    let json: String
    /// Family, layers, hidden, heads, key and value heads, head, feed-forward, vocabulary, positions.
    let sizes: (ModelConfiguration.Family, [Int])
    let rotary: RotaryConfiguration
    let isTied: Bool
    let hasBias: Bool
    let parameters: Int
    var window: Int?

    var testDescription: String { name }
  }

  private static let common =
    #""attention_dropout": 0.0, "hidden_act": "silu", "initializer_range": 0.02, "use_cache": true, "torch_dtype": "bfloat16", "transformers_version": "4.43.1""#

  static let published: [Published] = [
    Published(
      name: "SmolLM2-135M",
      json: """
        {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 0, "eos_token_id": 0,
        "hidden_size": 576, "intermediate_size": 1536, "is_llama_config": true, "max_position_embeddings": 8192,
        "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
        "num_key_value_heads": 3, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_interleaved": false,
        "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true, "vocab_size": 49152, \(common)}
        """,
      sizes: (.llama, [30, 576, 9, 3, 64, 1536, 49152, 8192]),
      rotary: RotaryConfiguration(theta: 100_000, scaling: .none), isTied: true, hasBias: false,
      parameters: 134_515_008),
    Published(
      name: "TinyLlama-1.1B",
      json: """
        {"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 2048,
        "intermediate_size": 5632, "max_position_embeddings": 2048, "model_type": "llama",
        "num_attention_heads": 32, "num_hidden_layers": 22, "num_key_value_heads": 4, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false,
        "vocab_size": 32000, \(common)}
        """,
      sizes: (.llama, [22, 2048, 32, 4, 64, 5632, 32000, 2048]),
      rotary: RotaryConfiguration(theta: 10_000, scaling: .none), isTied: false, hasBias: false,
      parameters: 1_100_048_384),
    Published(
      name: "Llama-2-7B",
      json: """
        {"_name_or_path": "meta-llama/Llama-2-7b-hf", "architectures": ["LlamaForCausalLM"], "bos_token_id": 1,
        "eos_token_id": 2, "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
        "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "tie_word_embeddings": false,
        "vocab_size": 32000, \(common)}
        """,
      sizes: (.llama, [32, 4096, 32, 32, 128, 11008, 32000, 4096]),
      rotary: RotaryConfiguration(theta: 10_000, scaling: .none), isTied: false, hasBias: false,
      parameters: 6_738_415_616),
    Published(
      name: "Llama-3.2-1B",
      json: """
        {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 128000,
        "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_size": 2048, "intermediate_size": 8192,
        "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32,
        "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
        "tie_word_embeddings": true, "vocab_size": 128256, \(common)}
        """,
      sizes: (.llama, [16, 2048, 32, 8, 64, 8192, 128256, 131072]),
      rotary: RotaryConfiguration(
        theta: 500_000,
        scaling: .llama3(factor: 32, lowFrequency: 1, highFrequency: 4, originalPositions: 8192)),
      isTied: true, hasBias: false, parameters: 1_235_814_400),
    Published(
      name: "Mistral-7B-v0.1",
      json: """
        {"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 4096,
        "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral",
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false, "vocab_size": 32000, \(common)}
        """,
      sizes: (.mistral, [32, 4096, 32, 8, 128, 14336, 32000, 32768]),
      rotary: RotaryConfiguration(theta: 10_000, scaling: .none), isTied: false, hasBias: false,
      parameters: 7_241_732_096, window: 4096),
    Published(
      name: "Qwen2.5-0.5B",
      json: """
        {"architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151643,
        "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
        "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
        "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936, \(common)}
        """,
      sizes: (.qwen2, [24, 896, 14, 2, 64, 4864, 151936, 32768]),
      rotary: RotaryConfiguration(theta: 1_000_000, scaling: .none), isTied: true, hasBias: true,
      parameters: 494_032_768),
    Published(
      name: "Qwen3-0.6B",
      json: """
        {"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "bos_token_id": 151643,
        "eos_token_id": 151645, "head_dim": 128, "hidden_size": 1024, "intermediate_size": 3072,
        "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
        "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
        "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true,
        "use_sliding_window": false, "vocab_size": 151936, \(common)}
        """,
      sizes: (.qwen3, [28, 1024, 16, 8, 128, 3072, 151936, 40960]),
      rotary: RotaryConfiguration(theta: 1_000_000, scaling: .none), isTied: true, hasBias: false,
      parameters: 596_049_920),
  ]

  @Test(arguments: published) func `is read, and adds up to the published size`(item: Published) throws {
    let (model, unknown) = try ModelConfiguration.parse(
      try JSON(parsing: Array(item.json.utf8)), path: "config.json")
    #expect(unknown == [])
    #expect(model.family == item.sizes.0)
    #expect(
      [
        model.layerCount, model.hiddenSize, model.headCount, model.keyValueHeadCount, model.headDimension,
        model.intermediateSize, model.vocabularySize, model.maximumPositions,
      ] == item.sizes.1)
    #expect(model.rotary == item.rotary)
    #expect(model.tiesEmbeddings == item.isTied && model.biases.queryKeyValue == item.hasBias)
    #expect(model.slidingWindows == Array(repeating: item.window, count: model.layerCount))
    #expect(model.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) } == item.parameters)
    #expect(ModelConfiguration(card: model.json) == model)
  }
}
