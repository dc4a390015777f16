import LMoECore

/// What the keys of a `config.json` are to this tool: read, without effect, or not to be passed over.
enum ModelKeys {
  /// Keys that `ModelConfiguration` reads for every family.
  private static let read: Set<String> = [
    "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps",
    "rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor", "tie_word_embeddings",
    "hidden_act", "original_max_position_embeddings",
  ]

  /// Keys that it reads for some; in another family they have no defined meaning.
  private static func read(by family: ModelConfiguration.Family) -> Set<String> {
    let windows: Set<String> = ["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"]
    return switch family {
    case .llama: ["attention_bias", "mlp_bias"]
    case .mistral: ["sliding_window"]
    case .qwen2: windows
    case .qwen3: windows.union(["attention_bias"])
    }
  }

  /// Keys without effect on the numbers of a forward pass.
  private static let harmless: Set<String> = [
    "architectures", "torch_dtype", "dtype", "transformers_version", "_name_or_path", "initializer_range",
    "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "use_cache", "bos_token_id",
    "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "decoder_start_token_id",
    "pretraining_tp", "_attn_implementation", "_attn_implementation_autoset", "attn_implementation",
    "_flash_attn_2_enabled", "use_flash_attention", "use_flash_attn", "flash_attn", "auto_map",
    "output_attentions", "output_hidden_states", "output_scores", "return_dict", "is_decoder",
    "is_encoder_decoder", "add_cross_attention", "cross_attention_hidden_size", "chunk_size_feed_forward",
    "tie_encoder_decoder", "pruned_heads", "id2label", "label2id", "problem_type", "num_labels",
    "finetuning_task", "task_specific_params", "tokenizer_class", "prefix", "torchscript", "use_bfloat16",
    "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
    "diversity_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "num_beams",
    "num_beam_groups", "num_return_sequences", "max_length", "min_length", "do_sample", "early_stopping",
    "bad_words_ids", "begin_suppress_tokens", "suppress_tokens", "forced_bos_token_id",
    "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty",
    "return_dict_in_generate", "tf_legacy_loss", "unsloth_fixed", "unsloth_version", "model_max_length",
    "is_llama_config", "transformers.js_config", "_commit_hash",
  ]

  /// Words in the name of a key that has to do with the computation.
  private static let telling = [
    "attn", "attention", "rope", "rotary", "norm", "scal", "multiplier", "softcap", "window", "expert",
    "moe", "router", "gate", "bias", "act", "residual", "logit", "position", "alibi", "clip", "quant",
    "layer", "head", "embed", "parallel", "factor", "theta", "hidden", "block", "conv", "shared", "mup",
    "memory", "temperature", "chunk",
  ]

  /// Refuses keys that would change numerics in a way nobody here knows; names those that look harmless.
  static func check(
    _ reader: ConfigurationReader, family: ModelConfiguration.Family, ignoring: Set<String>
  ) throws -> [String] {
    let read = read.union(read(by: family))
    var unknown: [String] = []
    for (key, value) in reader.object.members {
      if read.contains(key) || harmless.contains(key) || isOff(key, value) { continue }
      if key == "quantization_config" {
        _ = try QuantizationMethod(value, path: reader.path)
        continue
      }
      if ignoring.contains(key) { continue }
      let lower = key.lowercased()
      // Only training drops anything out.
      if lower.contains("dropout") || lower.contains("pdrop") { continue }
      if telling.contains(where: lower.contains) {
        throw ExpertError(
          .unknownKey, path: reader.path, name: key, found: value.shortText)
      }
      unknown.append(key)
    }
    return unknown
  }

  /// Values that say that a feature of some other model is not used.
  private static func isOff(_ key: String, _ value: JSON) -> Bool {
    if value.isOff { return true }
    // A factor of one multiplies nothing.
    return (key.hasSuffix("_multiplier") || key == "logits_scaling" || key == "logit_scale")
      && value.double == 1
  }
}
