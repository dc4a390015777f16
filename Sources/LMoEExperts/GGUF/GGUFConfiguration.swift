import LMoECore
import LMoEFormat

/// The `config.json` that the keys and tensors of a GGUF file amount to.
struct GGUFConfiguration {
  private(set) var json: JSON = .null
  private(set) var notes: [String] = []

  /// The tensor that divides the rotary frequencies.
  static let divisors = "rope_freqs.weight"

  private let file: GGUFFile
  private var reader: GGUFReader

  init(_ file: GGUFFile, ignoring: Set<String>) throws {
    self.file = file
    let known = GGUFArchitecture.allCases.map(\.rawValue).joined(separator: ", ")
    guard let name = file.value("general.architecture")?.string else {
      throw ExpertError(.invalidConfiguration, path: file.path, found: "it has no general.architecture")
    }
    guard let architecture = GGUFArchitecture(rawValue: name) else {
      throw ExpertError(
        .unsupportedModel, path: file.path, name: "general.architecture", expected: known,
        found: "\"\(name.shortened)\"")
    }
    reader = GGUFReader(file, architecture: name)
    json = try configuration(architecture)
    try reader.requireAllKnown(ignoring: ignoring)
  }

  private func tensor(_ name: String) -> GGUFTensor? {
    file.tensors.first { $0.name.hasSameBytes(as: name) }
  }

  private mutating func configuration(_ architecture: GGUFArchitecture) throws -> JSON {
    let hidden = try reader.required("embedding_length")
    let heads = try reader.required("attention.head_count")
    let layers = try reader.required("block_count")
    let width = try reader.integer("attention.key_length") ?? hidden / heads
    for key in ["attention.value_length", "rope.dimension_count"] {
      if let other = try reader.integer(key), other != width {
        throw reader.invalid("\(architecture.rawValue).\(key)", "\(other), and heads are \(width) wide")
      }
    }
    guard let embedding = tensor("token_embd.weight"), let vocabulary = embedding.type.shape.first else {
      throw ExpertError(
        .missingWeight, path: file.path, name: "token_embd.weight", expected: architecture.rawValue)
    }
    if let count = try reader.integer("vocab_size"), count != vocabulary {
      throw reader.invalid("vocab_size", "\(count), and the embedding has \(vocabulary) rows")
    }
    let window = try reader.integer("attention.sliding_window").flatMap { $0 > 0 ? $0 : nil }
    let pattern = try reader.flags("attention.sliding_window_pattern")
    let family: ModelConfiguration.Family =
      switch architecture {
      case .llama: window == nil ? .llama : .mistral
      case .qwen2: .qwen2
      case .qwen3: .qwen3
      }
    let positions = try reader.required("context_length")
    var object: [(String, JSON)] = [
      ("architectures", [.string(family.architecture)]), ("model_type", .string(family.rawValue)),
      ("hidden_size", .integer(hidden)), ("num_hidden_layers", .integer(layers)),
      ("intermediate_size", .integer(try reader.required("feed_forward_length"))),
      ("num_attention_heads", .integer(heads)),
      ("num_key_value_heads", .integer(try reader.integer("attention.head_count_kv") ?? heads)),
      ("head_dim", .integer(width)), ("vocab_size", .integer(vocabulary)),
      ("max_position_embeddings", .integer(positions)), ("hidden_act", "silu"),
      ("tie_word_embeddings", .bool(tensor("output.weight") == nil)),
    ]
    guard let epsilon = try reader.number("attention.layer_norm_rms_epsilon") else {
      throw reader.invalid("\(architecture.rawValue).attention.layer_norm_rms_epsilon", "missing")
    }
    object.append(("rms_norm_eps", .double(epsilon)))
    object.append(("rope_parameters", try rope(positions: positions)))
    switch family {
    case .llama:
      object.append(("attention_bias", .bool(tensor("blk.0.attn_q.bias") != nil)))
      object.append(("mlp_bias", .bool(tensor("blk.0.ffn_gate.bias") != nil)))
    case .mistral: object.append(("sliding_window", window.map { .integer($0) } ?? .null))
    case .qwen2, .qwen3:
      object.append(("use_sliding_window", .bool(window != nil)))
      if let window {
        object.append(("sliding_window", .integer(window)))
        let flags = pattern ?? Array(repeating: true, count: layers)
        object.append(
          ("layer_types", .array(flags.map { $0 ? "sliding_attention" : "full_attention" })))
      }
      if family == .qwen3 { object.append(("attention_bias", .bool(tensor("blk.0.attn_q.bias") != nil))) }
    }
    return .object(object)
  }

  private mutating func rope(positions: Int) throws -> JSON {
    let theta = try reader.number("rope.freq_base") ?? 10_000
    var object: [(String, JSON)] = [("rope_theta", .double(theta))]
    let kind = try reader.text("rope.scaling.type") ?? "none"
    let scale = try reader.number("rope.scale_linear")
    let factor = try reader.number("rope.scaling.factor") ?? scale ?? 1
    let original = try reader.integer("rope.scaling.original_context_length") ?? positions
    let attention = try reader.number("rope.scaling.attn_factor") ?? 1
    guard ["none", "linear", "yarn"].contains(kind) else {
      throw ExpertError(
        .unsupportedModel, path: file.path, name: "rope.scaling.type", found: "\"\(kind.shortened)\"")
    }
    if let divisors = tensor(Self.divisors), let llama3 = try self.llama3(divisors, theta: theta, original) {
      guard kind != "yarn", factor == 1 else {
        throw reader.invalid("rope.scaling.type", "\"\(kind.shortened)\" beside \(Self.divisors)")
      }
      return .object(object + llama3)
    }
    switch kind {
    case "none", "linear":
      // llama.cpp takes linear where nothing is said.
      guard factor != 1, factor != 0 else {
        object.append(("rope_type", "default"))
        break
      }
      object += [("rope_type", "linear"), ("factor", .double(factor))]
    default:
      object += [
        ("rope_type", "yarn"), ("factor", .double(factor)),
        ("original_max_position_embeddings", .integer(original)), ("beta_fast", 32), ("beta_slow", 1),
        ("attention_factor", .double(attention * RotaryConfiguration.usualYarnAttention(factor))),
      ]
    }
    return .object(object)
  }

  /// The numbers of Llama 3 behind the divisors; nil if they divide by one.
  private func llama3(_ tensor: GGUFTensor, theta: Double, _ original: Int) throws -> [(String, JSON)]? {
    guard tensor.type.dtype == .f32, tensor.type.shape.count == 1, tensor.type.elementCount <= 1 << 16 else {
      throw ExpertError(
        .weightShape, path: file.path, name: tensor.name, expected: "a vector of F32",
        found: "\(tensor.type.shape)")
    }
    let values = try file.source(of: tensor).floats(tensor.type)
    if values.allSatisfy({ $0 == 1 }) { return nil }
    let lengths = [original] + (5...24).map { 1 << $0 }
    let found = lengths.lazy.compactMap {
      RotaryConfiguration.llama3(divisors: values, theta: theta, original: $0)
    }.first
    guard case .llama3(let factor, let low, let high, let length)? = found else {
      throw ExpertError(
        .unsupportedModel, path: file.path, name: tensor.name,
        found: "not the divisors of Llama 3's frequencies")
    }
    return [
      ("rope_type", "llama3"), ("factor", .double(factor)), ("low_freq_factor", .double(low)),
      ("high_freq_factor", .double(high)), ("original_max_position_embeddings", .integer(length)),
    ]
  }
}
