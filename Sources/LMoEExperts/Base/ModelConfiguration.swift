public import LMoECore

/// What the numbers of a decoder depend on besides its weights: `config.json`, resolved once, in one spelling.
public struct ModelConfiguration: Hashable, Sendable {
  /// An architecture, by Hugging Face's `model_type`.
  public enum Family: String, CaseIterable, Hashable, Sendable {
    case llama
    case mistral
    case qwen2
    case qwen3

    /// The class that transformers loads it with.
    public var architecture: String {
      switch self {
      case .llama: "LlamaForCausalLM"
      case .mistral: "MistralForCausalLM"
      case .qwen2: "Qwen2ForCausalLM"
      case .qwen3: "Qwen3ForCausalLM"
      }
    }
  }

  /// Which linear layers have a bias.
  public struct Biases: Hashable, Sendable {
    /// `q_proj`, `k_proj` and `v_proj`.
    public let queryKeyValue: Bool
    /// `o_proj`.
    public let attentionOutput: Bool
    /// `gate_proj`, `up_proj` and `down_proj`.
    public let feedForward: Bool
  }

  /// The architecture.
  public let family: Family
  /// Width of the residual stream.
  public let hiddenSize: Int
  /// Width inside the SwiGLU.
  public let intermediateSize: Int
  /// Number of decoder layers.
  public let layerCount: Int
  /// Number of query heads.
  public let headCount: Int
  /// Number of key and value heads; divides `headCount`.
  public let keyValueHeadCount: Int
  /// Width of a head; `headCount · headDimension` need not be `hiddenSize`.
  public let headDimension: Int
  /// Rows of the embedding.
  public let vocabularySize: Int
  /// The longest context it was made for.
  public let maximumPositions: Int
  /// ε of every RMSNorm.
  public let normEpsilon: Double
  /// The rotary position embedding.
  public let rotary: RotaryConfiguration
  /// How far each layer looks back; nil for the whole context.
  public let slidingWindows: [Int?]
  /// Which linear layers have a bias.
  public let biases: Biases
  /// Whether the head is the embedding.
  public let tiesEmbeddings: Bool

  /// Whether queries and keys are normalised over the head before they are rotated.
  public var normalisesQueriesAndKeys: Bool { family == .qwen3 }
}

extension ModelConfiguration {
  /// As a card has it (registry §5.1).
  public var json: JSON {
    [
      "family": .string(family.rawValue), "hidden_size": .integer(hiddenSize),
      "intermediate_size": .integer(intermediateSize), "layers": .integer(layerCount),
      "heads": .integer(headCount), "key_value_heads": .integer(keyValueHeadCount),
      "head_dim": .integer(headDimension), "vocabulary": .integer(vocabularySize),
      "positions": .integer(maximumPositions), "norm_epsilon": .double(normEpsilon), "rope": rotary.json,
      "windows": .array(slidingWindows.map { $0.map { .integer($0) } ?? .null }),
      "bias": [
        "qkv": .bool(biases.queryKeyValue), "o": .bool(biases.attentionOutput),
        "mlp": .bool(biases.feedForward),
      ],
      "tied": .bool(tiesEmbeddings),
    ]
  }

  /// Reads what a card has.
  ///
  /// - Returns: nil if something is missing or cannot be: the card is damaged or newer than this tool.
  public init?(card json: JSON) {
    func integer(_ key: String) -> Int? {
      json[key]?.int.flatMap { (1...(1 << 24)).contains($0) ? $0 : nil }
    }
    guard let family = json["family"]?.string.flatMap(Family.init(rawValue:)),
      let hiddenSize = integer("hidden_size"), let intermediateSize = integer("intermediate_size"),
      let layerCount = integer("layers"), let headCount = integer("heads"),
      let keyValueHeadCount = integer("key_value_heads"), let headDimension = integer("head_dim"),
      let vocabularySize = integer("vocabulary"), let maximumPositions = integer("positions"),
      let normEpsilon = json["norm_epsilon"]?.double, normEpsilon >= 0,
      let rotary = json["rope"].flatMap(RotaryConfiguration.init(card:)),
      let windows = json["windows"]?.array, windows.count == layerCount,
      windows.allSatisfy({ $0.isNull || ($0.int ?? 0) > 0 }),
      let queryKeyValue = json["bias"]?["qkv"]?.bool, let output = json["bias"]?["o"]?.bool,
      let feedForward = json["bias"]?["mlp"]?.bool, let tied = json["tied"]?.bool,
      layerCount <= 10_000, headCount % keyValueHeadCount == 0, headDimension % 2 == 0
    else { return nil }
    self.init(
      family: family, hiddenSize: hiddenSize, intermediateSize: intermediateSize, layerCount: layerCount,
      headCount: headCount, keyValueHeadCount: keyValueHeadCount, headDimension: headDimension,
      vocabularySize: vocabularySize, maximumPositions: maximumPositions, normEpsilon: normEpsilon,
      rotary: rotary, slidingWindows: windows.map(\.int),
      biases: Biases(queryKeyValue: queryKeyValue, attentionOutput: output, feedForward: feedForward),
      tiesEmbeddings: tied)
  }
}
