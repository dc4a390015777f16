public import LMoECore

extension ModelConfiguration {
  /// Reads a `config.json`, in the spelling of transformers 4 or 5.
  ///
  /// Sizes must be there; what every family has a default for may be missing.
  ///
  /// - Parameters:
  ///   - json: The configuration.
  ///   - path: Its file, for errors.
  ///   - ignoring: Keys that the user says change nothing.
  /// - Returns: The configuration, and the keys this tool has never heard of, which look harmless.
  /// - Throws: `ExpertError` with `unsupported-model` that names the key, or `invalid-configuration`.
  public static func parse(
    _ json: JSON, path: String, ignoring: Set<String> = []
  ) throws -> (model: ModelConfiguration, unknownKeys: [String]) {
    let reader = try ConfigurationReader(json, path: path)
    guard let type = try reader.text("model_type") else { throw reader.invalid("it has no model_type") }
    guard let family = Family(rawValue: type) else {
      throw ExpertError(
        .unsupportedModel, path: path, name: "model_type",
        expected: Family.allCases.map(\.rawValue).joined(separator: ", "), found: JSON.string(type).shortText)
    }
    let unknown = try ModelKeys.check(reader, family: family, ignoring: ignoring)
    return (try ModelConfiguration(family, reader), unknown)
  }

  private init(_ family: Family, _ reader: ConfigurationReader) throws {
    let hidden = try reader.required("hidden_size")
    let layers = try reader.required("num_hidden_layers")
    let heads = try reader.required("num_attention_heads")
    guard layers <= 10_000 else { throw reader.invalid("num_hidden_layers is \(layers)") }
    // Configurations from before grouped-query attention have no such key.
    let keyValueHeads = try reader.integer("num_key_value_heads") ?? Self.keyValueHeads(family, reader, heads)
    guard heads % keyValueHeads == 0 else {
      throw reader.invalid(
        "num_attention_heads (\(heads)) is not a multiple of num_key_value_heads (\(keyValueHeads))")
    }
    let explicit = try reader.integer("head_dim")
    if explicit == nil, family != .qwen3, hidden % heads != 0 {
      throw reader.invalid("hidden_size (\(hidden)) is not a multiple of num_attention_heads (\(heads))")
    }
    // Qwen3 alone has a default of its own.
    let headDimension = explicit ?? (family == .qwen3 ? 128 : hidden / heads)
    guard headDimension % 2 == 0 else {
      throw reader.invalid("the width of a head is odd (\(headDimension)), which rotary embeddings cannot be")
    }
    let activation = try reader.text("hidden_act") ?? "silu"
    guard ["silu", "swish"].contains(activation) else {
      throw reader.unsupported("hidden_act", .string(activation))
    }
    let positions = try reader.integer("max_position_embeddings") ?? Self.positions(family)
    let epsilon = try reader.number("rms_norm_eps") ?? 1e-6
    guard epsilon >= 0, epsilon < 1 else { throw reader.invalid("rms_norm_eps is \(epsilon)") }
    let attentionBias = try reader.flag("attention_bias") ?? false
    let biases =
      switch family {
      case .llama:
        Biases(
          queryKeyValue: attentionBias, attentionOutput: attentionBias,
          feedForward: try reader.flag("mlp_bias") ?? false)
      case .mistral: Biases(queryKeyValue: false, attentionOutput: false, feedForward: false)
      case .qwen2: Biases(queryKeyValue: true, attentionOutput: false, feedForward: false)
      case .qwen3: Biases(queryKeyValue: attentionBias, attentionOutput: attentionBias, feedForward: false)
      }
    self.init(
      family: family, hiddenSize: hidden, intermediateSize: try reader.required("intermediate_size"),
      layerCount: layers, headCount: heads, keyValueHeadCount: keyValueHeads, headDimension: headDimension,
      vocabularySize: try reader.required("vocab_size"), maximumPositions: positions, normEpsilon: epsilon,
      rotary: try RotaryConfiguration(reader, positions: positions),
      slidingWindows: try Self.windows(family, reader, layers: layers), biases: biases,
      tiesEmbeddings: try reader.flag("tie_word_embeddings") ?? false)
  }

  private static func keyValueHeads(
    _ family: Family, _ reader: ConfigurationReader, _ heads: Int
  ) -> Int {
    // Null means as many as heads; absent means the default of transformers' class.
    if reader.isNull("num_key_value_heads") { return heads }
    return switch family {
    case .llama: heads
    case .mistral: 8
    case .qwen2, .qwen3: 32
    }
  }

  private static func positions(_ family: Family) -> Int {
    switch family {
    case .llama: 2048
    case .mistral: 131_072
    case .qwen2, .qwen3: 32_768
    }
  }

  /// How far each layer looks back.
  private static func windows(
    _ family: Family, _ reader: ConfigurationReader, layers: Int
  ) throws -> [Int?] {
    let given = family == .llama ? nil : try reader.integer("sliding_window", zeroIsNone: true)
    switch family {
    case .llama: return Array(repeating: nil, count: layers)
    case .mistral:
      // Absent, transformers takes the class's default of 4,096; null is the whole context.
      let window = given ?? (reader.object["sliding_window"] == nil ? 4096 : nil)
      return Array(repeating: window, count: layers)
    case .qwen2, .qwen3:
      let isUsed = try reader.flag("use_sliding_window") ?? false
      let window = isUsed ? given ?? (reader.object["sliding_window"] == nil ? 4096 : nil) : nil
      if let types = try reader.texts("layer_types") {
        guard types.count == layers else {
          throw reader.invalid("layer_types has \(types.count) elements for \(layers) layers")
        }
        return try types.map { type in
          switch type {
          case "full_attention": return nil
          case "sliding_attention":
            guard let window else {
              throw reader.invalid("layer_types has sliding_attention without a sliding_window")
            }
            return window
          default: throw reader.unsupported("layer_types", .string(type))
          }
        }
      }
      let first = try reader.number("max_window_layers").flatMap { Int(exactly: $0) } ?? 28
      return (0..<layers).map { $0 >= first ? window : nil }
    }
  }
}
