import LMoEFormat
import LMoECore

/// What a GGUF file says of a model besides its weights, for the architectures that are known on both sides.
enum GGUFArchitecture: String, CaseIterable {
  case llama
  case qwen2
  case qwen3

  /// The architecture that computes what a family does.
  init(_ family: ModelConfiguration.Family) {
    switch family {
    case .llama, .mistral: self = .llama
    case .qwen2: self = .qwen2
    case .qwen3: self = .qwen3
    }
  }

  /// Whether rows of q and k stand in the order of neighbouring pairs.
  var reordersHeads: Bool { self == .llama }

  /// The order of the rows of a tensor of `model`, by the model's name; nil if it is the same on both sides.
  static func order(of name: String, in model: ModelConfiguration, isExport: Bool) -> HeadOrder? {
    guard GGUFArchitecture(model.family).reordersHeads else { return nil }
    let module = name.utf8.split(separator: UInt8(ascii: ".")).dropLast().last
      .map { String(decoding: $0, as: UTF8.self) }
    guard module == "q_proj" || module == "k_proj" else { return nil }
    return HeadOrder(dimension: model.headDimension, isExport: isExport)
  }
}

extension ModelConfiguration {
  /// The keys that llama.cpp computes this model by.
  ///
  /// - Returns: The keys, the divisors of the rotary frequencies if they are a tensor, and what the user should
  ///   know.
  /// - Throws: `ExpertError` with `not-exportable` for what llama.cpp cannot compute.
  func ggufMetadata(
    path: String
  ) throws -> (keys: [(key: String, value: GGUFValue)], frequencies: [Float]?, notes: [String]) {
    let architecture = GGUFArchitecture(family)
    let prefix = architecture.rawValue + "."
    func refused(_ name: String, _ why: String) -> ExpertError {
      ExpertError(.notExportable, path: path, name: name, found: why)
    }
    if architecture == .qwen2, headCount * headDimension != hiddenSize {
      throw refused("head_dim", "llama.cpp takes hidden_size / num_attention_heads for qwen2")
    }
    if architecture != .llama, biases.attentionOutput || biases.feedForward {
      throw refused("attention_bias", "llama.cpp has no bias on o_proj for \(architecture.rawValue)")
    }
    var notes: [String] = []
    var keys: [(key: String, value: GGUFValue)] = [
      (prefix + "block_count", .u32(UInt32(layerCount))),
      (prefix + "context_length", .u32(UInt32(maximumPositions))),
      (prefix + "embedding_length", .u32(UInt32(hiddenSize))),
      (prefix + "feed_forward_length", .u32(UInt32(intermediateSize))),
      (prefix + "attention.head_count", .u32(UInt32(headCount))),
      (prefix + "attention.head_count_kv", .u32(UInt32(keyValueHeadCount))),
      (prefix + "attention.key_length", .u32(UInt32(headDimension))),
      (prefix + "attention.value_length", .u32(UInt32(headDimension))),
      (prefix + "attention.layer_norm_rms_epsilon", .f32(Float(normEpsilon))),
      (prefix + "vocab_size", .u32(UInt32(vocabularySize))),
      (prefix + "rope.dimension_count", .u32(UInt32(headDimension))),
      (prefix + "rope.freq_base", .f32(Float(rotary.theta))),
    ]
    keys += windowKeys(prefix, &notes)
    var frequencies: [Float]?
    switch rotary.scaling {
    case .none: break
    case .linear(let factor):
      keys += [
        (prefix + "rope.scaling.type", .string("linear")),
        (prefix + "rope.scaling.factor", .f32(Float(factor))),
      ]
    case .dynamic:
      notes.append(
        "llama.cpp has no dynamic rope scaling: numbers agree up to \(maximumPositions) tokens, not beyond")
    case .llama3:
      guard architecture == .llama else {
        throw refused("rope_type", "llama.cpp has rope of the type llama3 for the architecture llama alone")
      }
      frequencies = rotary.llama3Divisors(dimension: headDimension).map { Float($0) }
    case .yarn(let factor, let original, let fast, let slow, let attention, let truncates):
      guard fast == 32, slow == 1, truncates else {
        throw refused("rope_type", "llama.cpp has yarn for \(architecture.rawValue) with beta 32 and 1 alone")
      }
      keys += [
        (prefix + "rope.scaling.type", .string("yarn")),
        (prefix + "rope.scaling.factor", .f32(Float(factor))),
        (prefix + "rope.scaling.original_context_length", .u32(UInt32(original))),
      ]
      // llama.cpp multiplies by what most models have.
      let usual = RotaryConfiguration.usualYarnAttention(factor)
      if attention != usual {
        keys.append((prefix + "rope.scaling.attn_factor", .f32(Float(attention / usual))))
      }
    }
    return (keys, frequencies, notes)
  }

  private func windowKeys(_ prefix: String, _ notes: inout [String]) -> [(key: String, value: GGUFValue)] {
    guard let window = slidingWindows.compactMap(\.self).min() else { return [] }
    notes.append(
      "llama.cpp has no sliding window for this architecture: numbers agree up to \(window) tokens, not beyond"
    )
    var keys: [(key: String, value: GGUFValue)] = [
      (prefix + "attention.sliding_window", .u32(UInt32(window)))
    ]
    if slidingWindows.contains(nil) {
      keys.append(
        (
          prefix + "attention.sliding_window_pattern",
          .array(.bool, slidingWindows.map { .bool($0 != nil) })
        ))
    }
    return keys
  }
}
