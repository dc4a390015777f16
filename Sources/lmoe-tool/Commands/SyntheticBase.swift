import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// Shapes of well-known small models.
enum ModelShape: String, CaseIterable, ExpressibleByArgument {
  /// stories15M.
  case s15m
  /// stories110M.
  case s110m
  /// SmolLM2-135M.
  case smol135m
  /// SmolLM2-360M.
  case smol360m
  /// TinyLlama 1.1B.
  case tiny1b

  /// Width, width of the feed-forward part, layers, heads, heads of keys and values, vocabulary.
  private var sizes: (hidden: Int, inner: Int, layers: Int, heads: Int, keyValueHeads: Int, vocabulary: Int) {
    switch self {
    case .s15m: (288, 768, 6, 6, 6, 32_000)
    case .s110m: (768, 2048, 12, 12, 12, 32_000)
    case .smol135m: (576, 1536, 30, 9, 3, 49_152)
    case .smol360m: (960, 2560, 32, 15, 5, 49_152)
    case .tiny1b: (2048, 5632, 22, 32, 4, 32_000)
    }
  }

  private var isSmolLM2: Bool { self == .smol135m || self == .smol360m }

  /// `config.json`.
  var configuration: JSON {
    let sizes = sizes
    return [
      "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": .integer(sizes.hidden),
      "intermediate_size": .integer(sizes.inner), "num_hidden_layers": .integer(sizes.layers),
      "num_attention_heads": .integer(sizes.heads), "num_key_value_heads": .integer(sizes.keyValueHeads),
      "vocab_size": .integer(sizes.vocabulary), "rms_norm_eps": .double(1e-5),
      "rope_theta": .double(isSmolLM2 ? 100_000 : 10_000),
      "max_position_embeddings": .integer(isSmolLM2 ? 8192 : 2048), "hidden_act": "silu",
      "tie_word_embeddings": .bool(true),
    ]
  }

  /// Names and shapes of the tensors.
  fileprivate var tensors: [(name: String, shape: [Int])] {
    let (hidden, inner, layers, heads, keyValueHeads, vocabulary) = sizes
    let narrow = hidden / heads * keyValueHeads
    var tensors = [("model.embed_tokens.weight", [vocabulary, hidden]), ("model.norm.weight", [hidden])]
    for layer in 0..<layers {
      for (name, shape) in [
        ("input_layernorm", [hidden]), ("post_attention_layernorm", [hidden]),
        ("self_attn.q_proj", [hidden, hidden]), ("self_attn.k_proj", [narrow, hidden]),
        ("self_attn.v_proj", [narrow, hidden]), ("self_attn.o_proj", [hidden, hidden]),
        ("mlp.gate_proj", [inner, hidden]), ("mlp.up_proj", [inner, hidden]),
        ("mlp.down_proj", [hidden, inner]),
      ] {
        tensors.append(("model.layers.\(layer).\(name).weight", shape))
      }
    }
    return tensors
  }
}

/// A bundle of a model with random weights, in a temporary directory that goes away as soon as it is mapped.
enum SyntheticBase {
  /// How the weights are stored.
  enum WeightType: String, CaseIterable, ExpressibleByArgument {
    case f32
    case bf16

    fileprivate var dtype: DType { self == .f32 ? .f32 : .bf16 }
  }

  /// Makes a model and loads it.
  static func load(_ shape: ModelShape, _ type: WeightType, on pool: WorkerPool) throws -> LoadedBase {
    let system = PosixFileSystem()
    let root = "\(temporaryDirectory)/lmoe-bench-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
    try system.makeDirectory(root)
    TemporaryFiles.began(root)
    defer {
      remove(root, in: system)
      TemporaryFiles.ended(root)
    }
    let checkpoint = root + "/base"
    try system.makeDirectory(checkpoint)
    try system.open(checkpoint + "/config.json", .createNew).write(
      Array(shape.configuration.serialized().utf8), at: 0)
    let tensors = shape.tensors.enumerated().compactMap { index, tensor in
      TensorType(dtype: type.dtype, shape: tensor.shape.map { UInt64($0) }).map { entry in
        NewEntry(
          tensor: tensor.name, type: entry,
          source: RandomWeights(
            seed: UInt64(index), isBF16: type == .bf16, isNorm: tensor.shape.count == 1))
      }
    }
    try SafetensorsWriter.write(checkpoint + "/model.safetensors", tensors: tensors, in: system)
    let source = try HFCheckpoint(path: checkpoint, in: system)
    var options = BundleWriter.Options()
    options.codec = .raw
    let writer = try BundleWriter(creating: root + "/base.lmoe", options: options, in: system)
    do {
      try writer.addBase(source, source.resolved())
      try writer.commit(note: "bench")
    } catch {
      writer.abort()
      throw error
    }
    return try LoadedBase(Bundle(path: root + "/base.lmoe"), on: pool)
  }

  private static var temporaryDirectory: String {
    guard let value = unsafe getenv("TMPDIR"), unsafe value.pointee != 0 else { return "/tmp" }
    return unsafe String(cString: value)
  }

  private static func remove(_ path: String, in system: PosixFileSystem) {
    if system.kind(path) != .directory { return (try? system.remove(path)) ?? () }
    for name in (try? system.list(path)) ?? [] { remove(path + "/" + name, in: system) }
    try? system.removeDirectory(path)
  }
}

/// Weights that follow from their places: uniform with the deviation of a fresh model, and norms of ones.
private struct RandomWeights: ByteSource {
  let seed: UInt64
  let isBF16: Bool
  let isNorm: Bool

  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FormatError) {
    if isBF16 {
      for (index, first) in stride(from: 0, to: buffer.count, by: 2).enumerated() {
        let bits = value(offset / 2 + UInt64(index)).bitPattern
        unsafe buffer.storeBytes(of: UInt16(bits >> 16).littleEndian, toByteOffset: first, as: UInt16.self)
      }
    } else {
      for (index, first) in stride(from: 0, to: buffer.count, by: 4).enumerated() {
        let bits = value(offset / 4 + UInt64(index)).bitPattern
        unsafe buffer.storeBytes(of: bits.littleEndian, toByteOffset: first, as: UInt32.self)
      }
    }
  }

  private func value(_ index: UInt64) -> Float {
    if isNorm { return 1 }
    var word = (index &+ seed << 40) &* 0x9E37_79B9_7F4A_7C15
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    return Float(Int32(truncatingIfNeeded: word >> 32)) * 0x1p-31 * 0.0346
  }
}
