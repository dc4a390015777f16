import LMoECore

/// What an `adapter_config.json` says that changes numbers: rank, alpha and scaling of every module.
struct PEFTConfiguration {
  let rank: Int
  let alpha: Double
  let usesRSLoRA: Bool
  let rankPattern: [(key: ModulePattern, rank: Int)]
  let alphaPattern: [(key: ModulePattern, alpha: Double)]
  let baseName: String?
  /// Keys that this version of the tool has never heard of; they are carried, and named to the user.
  let unknownKeys: [String]

  /// Keys without effect on a trained adapter's numbers.
  private static let harmless: Set<String> = [
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "exclude_modules",
    "inference_mode", "layers_pattern", "layers_to_transform", "loftq_config", "lora_dropout",
    "lora_ga_config", "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "lora_alpha",
    "rank_pattern", "alpha_pattern", "revision", "runtime_config", "target_modules", "task_type",
    "use_rslora", "init_lora_weights",
  ]

  /// Keys that change numbers in a way that is not supported: what they may be, and what to do.
  private static let restricted: [(key: String, remedy: String)] = [
    ("use_dora", "merge the adapter into its base and extract a plain LoRA"),
    ("lora_bias", "train it without lora_bias"),
    ("bias", "train it with bias=\"none\""),
    ("modules_to_save", "train it without modules_to_save"),
    ("trainable_token_indices", "train it without trainable tokens"),
    ("layer_replication", "merge the adapter into the replicated model"),
    ("target_parameters", "train it with target_modules"),
    ("alora_invocation_tokens", "train it as an ordinary LoRA"),
    ("fan_in_fan_out", "use a base with linear layers in (out, in) layout"),
    ("ensure_weight_tying", "train it without ensure_weight_tying"),
    ("use_qalora", "train it as an ordinary LoRA"),
    ("use_bdlora", "train it as an ordinary LoRA"),
    ("kasa_config", "train it as an ordinary LoRA"),
    ("velora_config", "train it as an ordinary LoRA"),
    ("monteclora_config", "train it as an ordinary LoRA"),
    ("arrow_config", "train it as an ordinary LoRA"),
    ("megatron_config", "train it without Megatron"),
  ]

  /// Initialisations that leave the base as it was.
  private static let plainInitialisations: Set<String> = ["gaussian", "eva", "orthogonal", "mica"]

  init(_ json: JSON, path: String) throws {
    guard let object = json.object else {
      throw ExpertError(.invalidConfiguration, path: path, found: "not a JSON object")
    }
    guard let type = object["peft_type"]?.string else {
      throw ExpertError(.invalidConfiguration, path: path, found: "it has no peft_type")
    }
    guard type == "LORA" else {
      throw ExpertError(
        .unsupportedAdapter, path: path, name: "peft_type", expected: "only LORA adapters can be imported",
        found: "\"\(type)\"")
    }
    for (key, remedy) in Self.restricted {
      guard let value = object[key], !Self.isOff(value, key: key) else { continue }
      throw ExpertError(
        .unsupportedAdapter, path: path, name: key, expected: remedy, found: value.serialized())
    }
    if let initialisation = object["init_lora_weights"]?.string,
      !Self.plainInitialisations.contains(initialisation.lowercased())
    {
      throw ExpertError(
        .unsupportedAdapter, path: path, name: "init_lora_weights",
        expected: "it changes the base; save the adapter with path_initial_model_for_weight_conversion",
        found: "\"\(initialisation)\"")
    }
    func number(_ key: String, _ fallback: Double) throws -> Double {
      guard let value = object[key] else { return fallback }
      guard let number = value.double else {
        throw ExpertError(.invalidConfiguration, path: path, found: "\(key) is not a number")
      }
      return number
    }
    guard let rank = Int(exactly: try number("r", 8)), rank > 0 else {
      throw ExpertError(.invalidConfiguration, path: path, found: "r is not a positive whole number")
    }
    self.rank = rank
    alpha = try number("lora_alpha", 8)
    let rsLoRA = object["use_rslora"] ?? false
    guard rsLoRA.bool != nil else {
      throw ExpertError(.invalidConfiguration, path: path, found: "use_rslora is neither true nor false")
    }
    usesRSLoRA = rsLoRA.bool ?? false
    rankPattern = try Self.pattern(object, "rank_pattern", path).map { key, value in
      guard let rank = value.int, rank > 0 else {
        throw ExpertError(.invalidConfiguration, path: path, found: "a rank in rank_pattern is not positive")
      }
      return (key, rank)
    }
    alphaPattern = try Self.pattern(object, "alpha_pattern", path).map { key, value in
      guard let alpha = value.double else {
        throw ExpertError(
          .invalidConfiguration, path: path, found: "an alpha in alpha_pattern is not a number")
      }
      return (key, alpha)
    }
    baseName = object["base_model_name_or_path"]?.string
    let restricted = Set(Self.restricted.map(\.key))
    unknownKeys = object.members.filter {
      !Self.harmless.contains($0.key) && !restricted.contains($0.key) && !Self.isOff($0.value, key: $0.key)
    }.map(\.key)
  }

  /// Whether a value means "not used".
  private static func isOff(_ value: JSON, key: String) -> Bool {
    switch value {
    case .null, .bool(false): true
    case .string(let text): text.isEmpty || (key == "bias" && text == "none")
    case .array(let elements): elements.isEmpty
    case .object(let object): object.members.isEmpty
    case .number(let number): number.double == 0
    case .bool(true): false
    }
  }

  private static func pattern(
    _ object: JSONObject, _ key: String, _ path: String
  ) throws -> [(ModulePattern, JSON)] {
    guard let value = object[key], !value.isNull else { return [] }
    guard let members = value.object?.members else {
      throw ExpertError(.invalidConfiguration, path: path, found: "\(key) is not an object")
    }
    return try members.map { member in
      guard let pattern = ModulePattern(member.key) else {
        throw ExpertError(.unsupportedPattern, path: path, name: member.key, expected: key)
      }
      return (pattern, member.value)
    }
  }

  /// Rank, alpha and scaling of `module`: the first matching pattern wins, the scaling uses both overridden
  /// values, s = α/r or, for rsLoRA, α/√r.
  func resolve(_ module: String) -> (rank: Int, alpha: Double, scaling: Double) {
    let rank = rankPattern.first { $0.key.matches(module) }?.rank ?? rank
    let alpha = alphaPattern.first { $0.key.matches(module) }?.alpha ?? alpha
    return (rank, alpha, alpha / (usesRSLoRA ? Double(rank).squareRoot() : Double(rank)))
  }
}

/// A key of `rank_pattern` or `alpha_pattern`, from the subset of regular expressions that has no
/// surprises: names and dots.
///
/// PEFT matches it as `(.*\.)?(key)$`, where a dot stands for any character.
struct ModulePattern {
  private let characters: [UInt8]
  private let isAnchored: Bool

  init?(_ key: String) {
    var text = Array(key.utf8)
    isAnchored = text.first == UInt8(ascii: "^")
    if isAnchored { text.removeFirst() }
    let isPlain = text.allSatisfy {
      switch $0 {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
        true
      default: false
      }
    }
    guard isPlain, !text.isEmpty else { return nil }
    characters = text
  }

  func matches(_ module: String) -> Bool {
    let name = Array(module.utf8)
    let start = name.count - characters.count
    guard start >= 0 else { return false }
    let dot = UInt8(ascii: ".")
    guard start == 0 || (!isAnchored && name[start - 1] == dot) else { return false }
    return zip(characters, name[start...]).allSatisfy { $0 == dot || $0 == $1 }
  }
}
