import LMoECore

/// What the keys of an `adapter_config.json` are to this tool.
enum PEFTKeys {
  /// Keys that `PEFTConfiguration` reads, and keys without effect on a trained adapter's numbers.
  private static let known: Set<String> = [
    "peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias",
    "bias", "modules_to_save", "trainable_token_indices", "layer_replication", "target_modules",
    "exclude_modules", "layers_to_transform", "layers_pattern", "init_lora_weights",
    "base_model_name_or_path", "ensure_weight_tying",
    // Without effect; fan_in_fan_out because PEFT turns it off for the linear layers these families have.
    "auto_mapping", "corda_config", "eva_config", "fan_in_fan_out", "inference_mode", "loftq_config",
    "lora_dropout", "lora_ga_config", "megatron_core", "peft_version", "qalora_group_size", "revision",
    "runtime_config", "task_type",
  ]

  /// Keys that change numbers in a way that cannot be represented, and what to do instead.
  private static let refused: [(key: String, remedy: String)] = [
    ("target_parameters", "train it with target_modules"),
    ("alora_invocation_tokens", "train it as an ordinary LoRA"),
    ("use_qalora", "train it as an ordinary LoRA"),
    ("use_bdlora", "train it as an ordinary LoRA"),
    ("kasa_config", "train it as an ordinary LoRA"),
    ("velora_config", "train it as an ordinary LoRA"),
    ("monteclora_config", "train it as an ordinary LoRA"),
    ("arrow_config", "import the adapters it routes between one by one, and give the bundle a gate"),
    ("megatron_config", "train it without Megatron"),
  ]

  /// Initialisations that leave the base as it was; any other may have changed it.
  private static let plainInitialisations: Set<String> = ["gaussian", "eva", "orthogonal", "mica"]

  /// Refuses what cannot be represented.
  ///
  /// - Returns: The keys this tool has never heard of.
  static func check(_ reader: ConfigurationReader) throws -> [String] {
    try checkType(reader)
    for (key, remedy) in refused {
      guard let value = reader.value(key), !value.isOff else { continue }
      throw ExpertError(
        .unsupportedAdapter, path: reader.path, name: key, expected: remedy, found: value.shortText)
    }
    if let value = reader.value("init_lora_weights"), let name = value.string,
      !plainInitialisations.contains(name.lowercased())
    {
      let remedy =
        name.lowercased() == "loftq"
        ? "merge it into the quantized base it was trained on"
        : "save it again with path_initial_model_for_weight_conversion, which makes it a plain LoRA"
      throw ExpertError(
        .mutatedBase, path: reader.path, name: "init_lora_weights", expected: remedy, found: value.shortText)
    }
    let refusedKeys = Set(refused.map(\.key))
    return reader.object.members.filter {
      !known.contains($0.key) && !refusedKeys.contains($0.key) && !$0.value.isOff
    }.map(\.key)
  }

  private static func checkType(_ reader: ConfigurationReader) throws {
    guard let type = try reader.text("peft_type") else {
      if reader.has("fine_tune_type") || reader.has("lora_parameters") {
        throw ExpertError(
          .unsupportedAdapter, path: reader.path, name: "fine_tune_type",
          expected: "this is an mlx-lm adapter: convert it to PEFT first",
          found: (reader.value("fine_tune_type") ?? "lora").shortText)
      }
      throw reader.invalid("it has no peft_type")
    }
    guard type == "LORA" else {
      throw ExpertError(
        .unsupportedAdapter, path: reader.path, name: "peft_type",
        expected: "only LORA adapters can be imported", found: JSON.string(type).shortText)
    }
  }
}
