import LMoECore

/// Where the weights of a model are among the tensors of a checkpoint or a bank.
///
/// Modules go by the names that transformers' causal language models have (`model.layers.0.mlp.up_proj`); a
/// checkpoint of the bare decoder lacks the leading `model.`.
public struct TensorNames: Sendable {
  /// A tensor a model has to have.
  public struct Expected: Hashable, Sendable {
    /// Its name (`model.norm.weight`).
    public let name: String
    /// Its shape: rows, columns.
    public let shape: [Int]
  }

  /// The model.
  public let model: ModelConfiguration
  /// Names in the file by names in the model, where they differ.
  private let stored: [ByteKey: String]
  private let shapes: [ByteKey: [Int]]

  /// Finds the weights of `model` among `tensors` and checks that all are there, in the right shape, and that
  /// nothing is left over.
  ///
  /// - Throws: `ExpertError` with `missing-weight`, `weight-shape` or `unexpected-weight` that names the tensor.
  public init(_ model: ModelConfiguration, tensors: [(name: String, shape: [Int])], path: String) throws {
    var found: [ByteKey: [Int]] = [:]
    for tensor in tensors { found[ByteKey(tensor.name)] = tensor.shape }
    let isBare =
      found[ByteKey("model.embed_tokens.weight")] == nil && found[ByteKey("embed_tokens.weight")] != nil
    var stored: [ByteKey: String] = [:]
    var shapes: [ByteKey: [Int]] = [:]
    for expected in model.tensors {
      var name = expected.name
      if isBare, name.hasPrefix("model.") { name = String(name.dropFirst(6)) }
      // A tied model may keep the one tensor under its other name.
      if found[ByteKey(name)] == nil, model.tiesEmbeddings, expected.name == "model.embed_tokens.weight",
        found[ByteKey("lm_head.weight")] != nil
      {
        name = "lm_head.weight"
      }
      guard let shape = found.removeValue(forKey: ByteKey(name)) else {
        throw ExpertError(
          .missingWeight, path: path, name: name, expected: model.family.rawValue,
          found: closestName(to: name, among: tensors.map(\.name)))
      }
      guard shape == expected.shape else {
        throw ExpertError(
          .weightShape, path: path, name: name, expected: "\(expected.shape)", found: "\(shape)")
      }
      shapes[ByteKey(expected.name)] = shape
      if !name.hasSameBytes(as: expected.name) { stored[ByteKey(expected.name)] = name }
    }
    for (name, shape) in found.sorted(by: { $0.key < $1.key }) {
      guard Self.isIgnored(name.text, shape: shape, of: model) else {
        throw ExpertError(.unexpectedWeight, path: path, name: name.text, expected: model.family.rawValue)
      }
    }
    (self.model, self.stored, self.shapes) = (model, stored, shapes)
  }

  /// Tensors that old checkpoints hold and nobody reads.
  private static func isIgnored(_ name: String, shape: [Int], of model: ModelConfiguration) -> Bool {
    name.hasSuffix(".rotary_emb.inv_freq") || name == "rotary_emb.inv_freq"
      || (model.tiesEmbeddings && name == "lm_head.weight"
        && shape == [model.vocabularySize, model.hiddenSize])
  }

  /// The name in the file of a tensor of the model; nil if the model has no such tensor.
  public func stored(_ name: String) -> String? {
    let key = ByteKey(resolved(name))
    guard shapes[key] != nil else { return nil }
    return stored[key] ?? key.text
  }

  /// The shape of a tensor of the model; a tied head has that of the embedding.
  public func shape(_ name: String) -> [Int]? { shapes[ByteKey(resolved(name))] }

  /// The head of a tied model is its embedding.
  private func resolved(_ name: String) -> String {
    model.tiesEmbeddings && name == "lm_head.weight" ? "model.embed_tokens.weight" : name
  }

  /// The model's own name of a module or tensor that may go by another: without `model.`, as a bare decoder
  /// has it.
  ///
  /// - Returns: nil if the model has neither.
  public func canonical(module: String) -> String? {
    for name in [module, "model." + module] where shape(name + ".weight") != nil { return name }
    return nil
  }

  /// All modules that have a weight, the head of a tied model among them.
  public var modules: [String] {
    var names = model.tensors.map(\.name).filter { $0.hasSuffix(".weight") }.map { String($0.dropLast(7)) }
    if model.tiesEmbeddings { names.append("lm_head") }
    return names
  }
}

extension ModelConfiguration {
  /// Every tensor the model has, in order: embedding, layers, norm, head.
  public var tensors: [TensorNames.Expected] {
    var result: [TensorNames.Expected] = []
    func add(_ name: String, _ shape: [Int]) { result.append(TensorNames.Expected(name: name, shape: shape)) }
    func linear(_ name: String, _ output: Int, _ input: Int, bias: Bool) {
      add(name + ".weight", [output, input])
      if bias { add(name + ".bias", [output]) }
    }
    let queries = headCount * headDimension
    let keys = keyValueHeadCount * headDimension
    add("model.embed_tokens.weight", [vocabularySize, hiddenSize])
    for layer in 0..<layerCount {
      let prefix = "model.layers.\(layer)."
      let attention = prefix + "self_attn."
      add(prefix + "input_layernorm.weight", [hiddenSize])
      linear(attention + "q_proj", queries, hiddenSize, bias: biases.queryKeyValue)
      linear(attention + "k_proj", keys, hiddenSize, bias: biases.queryKeyValue)
      linear(attention + "v_proj", keys, hiddenSize, bias: biases.queryKeyValue)
      linear(attention + "o_proj", hiddenSize, queries, bias: biases.attentionOutput)
      if normalisesQueriesAndKeys {
        add(attention + "q_norm.weight", [headDimension])
        add(attention + "k_norm.weight", [headDimension])
      }
      add(prefix + "post_attention_layernorm.weight", [hiddenSize])
      linear(prefix + "mlp.gate_proj", intermediateSize, hiddenSize, bias: biases.feedForward)
      linear(prefix + "mlp.up_proj", intermediateSize, hiddenSize, bias: biases.feedForward)
      linear(prefix + "mlp.down_proj", hiddenSize, intermediateSize, bias: biases.feedForward)
    }
    add("model.norm.weight", [hiddenSize])
    if !tiesEmbeddings { add("lm_head.weight", [vocabularySize, hiddenSize]) }
    return result
  }
}
