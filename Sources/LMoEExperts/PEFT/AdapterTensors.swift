import LMoECore
import LMoEFormat

/// Sorts an adapter's tensors by module and makes sure that they fit each other and the configuration.
struct AdapterTensors {
  private struct Factors {
    var roles: [PEFTTensorName.Role: SafetensorsTensor] = [:]
  }

  let file: SafetensorsFile
  private(set) var wholes: [PEFTAdapter.Whole] = []
  /// Tensors that change nothing.
  private(set) var unused: [SafetensorsTensor] = []
  private var rows: [(tensor: SafetensorsTensor, name: PEFTTensorName)] = []
  private var factors: [ByteKey: Factors] = [:]
  private var seen: [ByteKey: SafetensorsTensor] = [:]

  init(file: SafetensorsFile) { self.file = file }

  mutating func add(_ tensor: SafetensorsTensor) throws {
    guard let name = PEFTTensorName(tensor.name) else {
      throw ExpertError(.unknownTensor, path: file.path, name: tensor.name)
    }
    if let other = seen.updateValue(tensor, forKey: ByteKey(name.canonical(module: name.module))) {
      // A saved module of a resized vocabulary is in PEFT's files twice, under both its spellings.
      guard case .whole = name.role, other.type == tensor.type,
        try file.source(of: tensor).hasSameBytes(as: file.source(of: other), count: tensor.type.rawBytes)
      else {
        throw ExpertError(
          .duplicateFactor, path: file.path, name: tensor.name, expected: "one spelling", found: other.name)
      }
      // The one under the name of today is the one that counts.
      let isCanonical = tensor.name.hasSameBytes(as: name.canonical(module: name.module))
      unused.append(isCanonical ? other : tensor)
      if isCanonical {
        wholes.removeAll { $0.tensor.name.hasSameBytes(as: other.name) }
        wholes.append(PEFTAdapter.Whole(tensor: tensor, name: name))
      }
      return
    }
    guard FloatValues(tensor.type.dtype) != nil else {
      throw ExpertError(
        .invalidFactor, path: file.path, name: tensor.name, expected: "F64, F32, F16 or BF16",
        found: "the dtype \(tensor.type.dtype.name)")
    }
    guard !tensor.type.shape.contains(0) else {
      throw ExpertError(
        .invalidFactor, path: file.path, name: tensor.name, expected: "a rank of at least one",
        found: "the shape \(tensor.type.shape): nothing is in it")
    }
    switch name.role {
    case .whole: wholes.append(PEFTAdapter.Whole(tensor: tensor, name: name))
    case .unused: unused.append(tensor)
    case .tokens: rows.append((tensor, name))
    default:
      let isMatrix = [.a, .b, .embeddingA, .embeddingB].contains(name.role)
      guard tensor.type.shape.count == (isMatrix ? 2 : 1) else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: tensor.name,
          expected: isMatrix
            ? "two dimensions; gather the shards before saving (ZeRO-3, FSDP)" : "one dimension",
          found: "the shape \(tensor.type.shape)")
      }
      factors[ByteKey(name.module), default: Factors()].roles[name.role] = tensor
    }
  }

  /// The module table, each with its numbers.
  func modules(_ configuration: PEFTConfiguration) throws -> [LoRAModule] {
    try configuration.requireFewSteps(forNames: factors.keys.reduce(0) { $0 + $1.text.utf8.count })
    return try factors.sorted { $0.key < $1.key }.map {
      try module($0.key.text, $0.value.roles, configuration)
    }
  }

  private func module(
    _ name: String, _ roles: [PEFTTensorName.Role: SafetensorsTensor], _ configuration: PEFTConfiguration
  ) throws -> LoRAModule {
    let isEmbedding = roles[.embeddingA] != nil || roles[.embeddingB] != nil
    let names = isEmbedding ? ("lora_embedding_A", "lora_embedding_B") : ("lora_A", "lora_B")
    func missing(_ factor: String) -> ExpertError {
      ExpertError(.missingFactor, path: file.path, name: name, expected: factor)
    }
    guard let a = roles[isEmbedding ? .embeddingA : .a] else { throw missing(names.0) }
    guard let b = roles[isEmbedding ? .embeddingB : .b] else { throw missing(names.1) }
    if isEmbedding, let linear = roles[.a] ?? roles[.b] {
      throw ExpertError(
        .duplicateFactor, path: file.path, name: linear.name, expected: "one kind", found: a.name)
    }
    let (rank, output) = (a.type.shape[0], b.type.shape[0])
    guard rank == b.type.shape[1] else {
      throw ExpertError(
        .invalidFactor, path: file.path, name: name, expected: "equal ranks",
        found: "rank \(rank) in \(names.0) and \(b.type.shape[1]) in \(names.1)")
    }
    let numbers = configuration.resolve(name)
    guard Float(numbers.scaling).isFinite else {
      throw ExpertError(
        .invalidConfiguration, path: configuration.path,
        found: "the scaling of \(name.shortened) is \(numbers.scaling), more than a float32 holds")
    }
    guard numbers.rank == rank else {
      throw ExpertError(
        .rankMismatch, path: file.path, name: name, expected: "\(numbers.rank)", found: "\(rank)")
    }
    // A vector that the configuration does not announce would be dropped by PEFT, a missing one made up.
    for (role, isAnnounced, key, length) in [
      (.magnitude, configuration.usesDoRA, "use_dora", output),
      (.biasOfB, configuration.hasLoRABias && !isEmbedding, "lora_bias", output),
    ] as [(PEFTTensorName.Role, Bool, String, Int)] {
      let vector = roles[role]
      if let vector, !isAnnounced {
        throw ExpertError(.unannouncedTensor, path: file.path, name: vector.name, expected: key)
      }
      if vector == nil, isAnnounced {
        throw missing(role == .magnitude ? "lora_magnitude_vector" : "lora_B.bias")
      }
      if let vector, vector.type.shape != [length] {
        throw ExpertError(
          .invalidFactor, path: file.path, name: vector.name, expected: "the shape [\(length)]",
          found: "the shape \(vector.type.shape)")
      }
    }
    return LoRAModule(
      name: name, rank: rank, alpha: numbers.alpha, scaling: numbers.scaling, inputFeatures: a.type.shape[1],
      outputFeatures: output, isEmbedding: isEmbedding, isDoRA: configuration.usesDoRA,
      hasBias: roles[.biasOfB] != nil, a: a, b: b,
      vectors: [roles[.biasOfB], roles[.magnitude]].compactMap(\.self))
  }

  /// The rows of embeddings, each with the numbers of its tokens.
  func tokens(_ configuration: PEFTConfiguration) throws -> [PEFTAdapter.Tokens] {
    var result: [PEFTAdapter.Tokens] = []
    for (tensor, name) in rows {
      let indices = configuration.tokenIndices.first { key, _ in
        key.isEmpty || key.hasSameBytes(as: name.module) || name.module.hasByteSuffix("." + key)
      }?.indices
      guard let indices else {
        throw ExpertError(
          .unannouncedTensor, path: file.path, name: tensor.name, expected: "trainable_token_indices")
      }
      guard tensor.type.shape.count == 2, tensor.type.shape[0] == indices.count else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: tensor.name, expected: "\(indices.count) rows, one a token",
          found: "the shape \(tensor.type.shape)")
      }
      result.append(PEFTAdapter.Tokens(tensor: tensor, name: name, indices: indices))
    }
    if result.isEmpty, configuration.tokenIndices.contains(where: { !$0.indices.isEmpty }) {
      throw ExpertError(
        .missingFactor, path: file.path, name: "embed_tokens",
        expected: "token_adapter.trainable_tokens_delta")
    }
    return result
  }
}

extension String {
  /// Whether the text ends with the bytes of `suffix`.
  func hasByteSuffix(_ suffix: String) -> Bool {
    utf8.count >= suffix.utf8.count && utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
  }
}
