import LMoECore
import LMoEExperts
import Testing

/// `config.json`: nothing that changes numbers is passed over or guessed.
@Suite struct ConfigurationTests {
  /// A family's configuration with some keys changed; `absent` removes one.
  private static func parse(
    _ family: String, _ changes: [(String, JSON?)], ignoring: Set<String> = []
  ) throws -> (model: ModelConfiguration, unknownKeys: [String]) {
    var object = try #require(try Fixture.json("families/\(family)/config.json").object)
    for (key, value) in changes { object[key] = value }
    return try ModelConfiguration.parse(.object(object), path: "c", ignoring: ignoring)
  }

  private static func refusal(_ family: String, _ changes: (String, JSON?)...) -> String {
    LMoEExpertsTests.refusal { _ = try parse(family, changes) }
  }

  @Test func `keys nobody has heard of are carried and named`() throws {
    let (model, unknown) = try Self.parse(
      "llama", [("zzz", 7), ("my_comment", "x"), ("off_gate", false), ("moe_count", 0), ("x_scale", nil)])
    #expect(unknown == ["zzz", "my_comment"])
    #expect(model == (try Self.parse("llama", []).model))
  }

  @Test(
    arguments: [
      ("attn_temperature", .double(0.5)), ("num_local_experts", 8), ("logits_soft_cap", 30),
      ("QK_Norm", true),
      ("embedding_multiplier", 12), ("no_rope_layers", [1, 0]), ("query_pre_attn_scalar", 256),
      ("mup_base", "x"), ("final_logit_softcapping", 30), ("alibi", true), ("clip_qkv", 8),
    ] as [(String, JSON)])
  func `keys that may change numbers are refused, or ignored on request`(key: String, value: JSON) throws {
    #expect(
      Self.refusal("llama", (key, value))
        == "c: \"\(key)\" is \(value.serialized()), and this tool does not know what that does to the numbers; if it does nothing, say \"--ignore-key \(key)\""
    )
    let (model, unknown) = try Self.parse("llama", [(key, value)], ignoring: [key])
    #expect(model == (try Self.parse("llama", []).model) && unknown == [])
    for off in [nil, false, 0, "", [], [:]] as [JSON] {
      #expect(Self.refusal("llama", (key, off)) == "", "\(off.serialized())")
    }
  }

  @Test(
    arguments: [
      "attn", "attention", "rope", "rotary", "norm", "scal", "multiplier", "softcap", "window", "expert",
      "moe",
      "router", "gate", "bias", "act", "residual", "logit", "position", "alibi", "clip", "quant", "layer",
      "head",
      "embed", "parallel", "factor", "theta", "hidden", "block", "conv", "shared", "mup", "memory",
      "temperature", "chunk",
    ]) func `each word that has to do with the computation`(word: String) throws
  {
    #expect(Self.refusal("llama", ("x_\(word.uppercased())_x", 7)).contains("--ignore-key x_"))
    // Only training drops anything out.
    #expect(Self.refusal("llama", ("\(word)_dropout", 7)) == "")
  }

  @Test func `a factor of one multiplies nothing`() throws {
    #expect(Self.refusal("llama", ("residual_multiplier", 1), ("logits_scaling", .double(1.0))) == "")
  }

  /// Keys of one family mean nothing in another.
  @Test(
    arguments: [
      ("llama", "sliding_window", 8), ("llama", "layer_types", ["full_attention"]),
      ("mistral", "attention_bias", true), ("mistral", "mlp_bias", true), ("qwen2", "attention_bias", true),
    ] as [(String, String, JSON)])
  func `a key of another family`(family: String, key: String, value: JSON) {
    #expect(Self.refusal(family, (key, value)).hasPrefix("c: \"\(key)\" is \(value.serialized()), and"))
  }

  static let refused: [(family: String, key: String, value: JSON?, sentence: String)] = [
    (
      "llama", "quantization_config", ["quant_method": "gptq", "bits": 4],
      "c: the checkpoint is quantized (gptq with groups of other than 32, 64 or 128); import the original one, which \"quantize\" can make smaller"
    ),
    (
      "llama", "model_type", "gpt2",
      "c: the model_type \"gpt2\" is not supported; this tool knows llama, mistral, qwen2, qwen3"
    ),
    ("llama", "model_type", nil, "c is not a valid configuration: it has no model_type"),
    ("llama", "model_type", 7, "c is not a valid configuration: model_type is not a text"),
    ("llama", "hidden_act", "gelu", "c: \"hidden_act\" is \"gelu\", which this tool cannot compute"),
    (
      "llama", "partial_rotary_factor", .double(0.5),
      "c: \"partial_rotary_factor\" is 0.5, which this tool cannot compute"
    ),
    (
      "llama", "rope_parameters", ["rope_type": "longrope", "factor": 4],
      "c: \"rope_parameters.rope_type\" is \"longrope\", which this tool cannot compute"
    ),
    (
      "llama", "rope_parameters", ["rope_type": "default", "partial_rotary_factor": .double(0.25)],
      "c: \"partial_rotary_factor\" is 0.25, which this tool cannot compute"
    ),
    (
      "llama", "rope_parameters", ["rope_type": "linear"],
      "c is not a valid configuration: in rope_parameters, RoPE of the type \"linear\" needs a positive factor"
    ),
    (
      "llama", "rope_parameters", ["rope_type": "linear", "factor": -2],
      "c is not a valid configuration: in rope_parameters, RoPE of the type \"linear\" needs a positive factor"
    ),
    (
      "llama", "rope_parameters",
      ["rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4],
      "c is not a valid configuration: in rope_parameters, RoPE of the type \"llama3\" needs low_freq_factor < high_freq_factor"
    ),
    (
      "llama", "rope_parameters", ["rope_type": "default", "short_factor": [1]],
      "c: \"rope_parameters.short_factor\" is [1], which this tool cannot compute"
    ),
    ("llama", "rope_parameters", [1], "c is not a valid configuration: rope_parameters is not an object"),
    (
      "llama-v4", "rope_scaling", ["type": "su", "factor": 2],
      "c: \"rope_scaling.rope_type\" is \"su\", which this tool cannot compute"
    ),
    ("llama-v4", "rope_theta", 1, "c is not a valid configuration: rope_theta is not greater than 1"),
    (
      "llama", "head_dim", 15,
      "c is not a valid configuration: the width of a head is odd (15), which rotary embeddings cannot be"
    ),
    (
      "llama", "num_key_value_heads", 3,
      "c is not a valid configuration: num_attention_heads (4) is not a multiple of num_key_value_heads (3)"
    ),
    (
      "qwen2", "num_attention_heads", 6,
      "c is not a valid configuration: hidden_size (32) is not a multiple of num_attention_heads (6)"
    ),
    (
      "qwen2", "layer_types", ["full_attention"],
      "c is not a valid configuration: layer_types has 1 elements for 3 layers"
    ),
    (
      "qwen2", "layer_types", ["full_attention", "chunked_attention", "full_attention"],
      "c: \"layer_types\" is \"chunked_attention\", which this tool cannot compute"
    ),
    (
      "qwen2", "use_sliding_window", false,
      "c is not a valid configuration: layer_types has sliding_attention without a sliding_window"
    ),
    ("llama", "rms_norm_eps", 1, "c is not a valid configuration: rms_norm_eps is 1.0"),
    ("llama", "rms_norm_eps", "1e-5", "c is not a valid configuration: rms_norm_eps is not a number"),
    (
      "llama", "tie_word_embeddings", "no",
      "c is not a valid configuration: tie_word_embeddings is neither true nor false"
    ),
    ("llama", "num_hidden_layers", 10_001, "c is not a valid configuration: num_hidden_layers is 10001"),
  ]

  @Test(arguments: refused.indices) func `what cannot be computed or makes no sense`(index: Int) {
    let (family, key, value, sentence) = Self.refused[index]
    #expect(Self.refusal(family, (key, value)) == sentence)
  }

  static let sizes = [
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "vocab_size", "max_position_embeddings",
  ]

  @Test(arguments: sizes) func `sizes that are none`(key: String) {
    for value in [0, -1, .double(1e30), .double(2.5), 16_777_217] as [JSON] {
      #expect(
        Self.refusal("llama", (key, value))
          == "c is not a valid configuration: \(key) is not a positive whole number")
    }
    for value in ["32", [32], [:], true] as [JSON] {
      #expect(Self.refusal("llama", (key, value)) == "c is not a valid configuration: \(key) is not a number")
    }
  }

  @Test func `sizes that must be there`() {
    for key in [
      "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
    ] {
      #expect(Self.refusal("llama", (key, nil)) == "c is not a valid configuration: it has no \(key)")
    }
  }

  @Test func `what is absent is as in transformers' classes`() throws {
    func model(_ family: String, _ changes: (String, JSON?)...) throws -> ModelConfiguration {
      try Self.parse(family, changes).model
    }
    #expect(try model("llama", ("num_key_value_heads", nil)).keyValueHeadCount == 4)
    #expect(try model("llama", ("head_dim", nil)).headDimension == 8)
    #expect(try model("qwen3", ("head_dim", nil)).headDimension == 128)
    #expect(try model("llama-v4", ("rope_theta", nil)).rotary.theta == 10_000)
    #expect(try model("llama", ("max_position_embeddings", nil)).maximumPositions == 2048)
    #expect(try model("mistral", ("max_position_embeddings", nil)).maximumPositions == 131_072)
    #expect(try model("mistral", ("sliding_window", nil)).slidingWindows == [4096, 4096])
    #expect(try model("mistral", ("sliding_window", .null)).slidingWindows == [nil, nil])
    #expect(
      try model("qwen2", ("max_window_layers", nil), ("layer_types", nil)).slidingWindows.allSatisfy {
        $0 == nil
      })
    #expect(try model("llama", ("rms_norm_eps", nil)).normEpsilon == 1e-6)
    #expect(try !model("qwen2", ("tie_word_embeddings", nil)).tiesEmbeddings)
  }

  @Test func `what is not an object`() {
    for json in [nil, [], "x", 7] as [JSON] {
      #expect(
        LMoEExpertsTests.refusal { _ = try ModelConfiguration.parse(json, path: "c") }
          == "c is not a valid configuration: not a JSON object")
    }
  }
}
