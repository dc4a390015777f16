import LMoEExperts

/// How the layers of a family of models are put together from shared ones.
protocol Architecture {
  /// Makes layer `index` of its parts.
  static func block(_ parts: LayerParts) throws -> DecoderBlock
}

extension ModelConfiguration.Family {
  /// The architecture by Hugging Face's `model_type`.
  var runtime: any Architecture.Type {
    switch self {
    case .llama: Llama.self
    case .mistral: Mistral.self
    case .qwen2: Qwen2.self
    case .qwen3: Qwen3.self
    }
  }
}

/// Gives the parts of one layer by the names they have inside it.
struct LayerParts {
  /// The model.
  let model: ModelConfiguration
  /// The layer's number.
  let index: Int
  /// How far its tokens look back.
  let window: Int?
  let builder: ModelBuilder

  /// The layer's name.
  var name: String { "model.layers.\(index)" }
  private var prefix: String { name + "." }

  /// A linear layer with its bias, if it has one, and its experts.
  func linear(_ name: String) throws -> Linear { try builder.linear(prefix + name) }

  /// A norm.
  func norm(_ name: String) throws -> RMSNorm { try builder.norm(prefix + name) }

  /// The layer's gate, if the model's gate has one for each layer.
  func gate() throws -> GateInstance? { try builder.layerGate(name) }
}
