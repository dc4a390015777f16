import LMoECore
import LMoEFormat

/// Finds the place of an adapter's tensors in the model of a base.
struct ExpertPlacement {
  private let adapter: PEFTAdapter
  private let base: BaseDescription
  private let configuration: PEFTConfiguration
  private(set) var tensors: [LoRAExpert.Placed] = []
  private(set) var notes: [String] = []
  /// Whether PEFT saw the model without the leading `model.`.
  private let isBare: Bool

  /// Paths of the modules with factors.
  private let adapted: Set<ByteKey>

  init(_ adapter: PEFTAdapter, _ base: BaseDescription) {
    adapted = Set(adapter.modules.map { ByteKey($0.name) })
    self.adapter = adapter
    self.base = base
    configuration = adapter.configuration
    isBare = adapter.modules.contains { $0.name.hasPrefix("layers.") || $0.name == "embed_tokens" }
  }

  private var names: TensorNames { base.names }
  private var path: String { adapter.file.path }

  /// The model's name of a module, and that of the base's module whose weights it uses: they differ where
  /// layers are replicated.
  private func resolve(_ module: String) throws -> (name: String, base: String) {
    let full = isBare && !module.hasPrefix("model.") && module != "lm_head" ? "model." + module : module
    let mapped = configuration.layerReplication.isEmpty ? full : original(full)
    if let mapped, names.shape(mapped + ".weight") != nil { return (full, mapped) }
    if let name = names.canonical(module: module), configuration.layerReplication.isEmpty {
      return (name, name)
    }
    throw ExpertError(
      .noSuchModule, path: path, name: module, expected: closestName(to: module, among: names.modules))
  }

  /// The module of the base that one of the replicated stack is; nil beyond its end.
  private func original(_ module: String) -> String? {
    let head = "model.layers."
    guard module.hasPrefix(head) else { return module }
    let rest = module.dropFirst(head.count)
    guard let dot = rest.firstIndex(of: "."), let number = Int(rest[..<dot]) else { return nil }
    var left = number
    for range in configuration.layerReplication {
      if left < range.count { return head + String(range.lowerBound + left) + rest[dot...] }
      left -= range.count
    }
    return nil
  }

  mutating func place(_ module: LoRAModule) throws -> LoRAModule {
    let (name, original) = try resolve(module.name)
    let isEmbedding = original == "model.embed_tokens"
    guard let shape = names.shape(original + ".weight"), shape.count == 2, isEmbedding == module.isEmbedding
    else {
      throw ExpertError(
        .wrongKind, path: path, name: module.name,
        expected: isEmbedding ? "an embedding" : "a linear layer or a norm",
        found: module.isEmbedding ? "an embedding" : "a linear layer")
    }
    let found =
      module.isEmbedding
      ? [module.inputFeatures, module.outputFeatures] : [module.outputFeatures, module.inputFeatures]
    guard shape == found else {
      try refuseResized(module.isEmbedding ? module.a : module.b, base: shape, found: found)
      throw ExpertError(
        .shapeMismatch, path: path, name: module.name, expected: "\(shape)", found: "\(found)")
    }
    for tensor in [module.a, module.b] + module.vectors {
      guard let parsed = PEFTTensorName(tensor.name) else { continue }
      tensors.append(LoRAExpert.Placed(name: parsed.canonical(module: name), tensor: tensor))
    }
    var placed = module
    placed.name = name
    return placed
  }

  /// The tensors of the model that a whole tensor replaces: two, where it is the embedding of a tied model and
  /// was not saved from a wrapper of its own.
  mutating func place(_ whole: PEFTAdapter.Whole) throws -> [LoRAExpert.Replacement] {
    guard case .whole(let leaf, let origin) = whole.name.role else { return [] }
    guard let (name, original) = try? resolve(whole.name.module) else {
      let heads: Set<String> = ["score", "classifier", "qa_outputs", "v_head", "value_head"]
      if heads.contains(whole.name.module) {
        throw ExpertError(.taskHead, path: path, name: whole.tensor.name)
      }
      throw ExpertError(.unknownTensor, path: path, name: whole.tensor.name)
    }
    try checkOrigin(of: whole, origin)
    let target = original + "." + leaf
    guard let shape = names.shape(target) else {
      throw ExpertError(
        .noSuchTensor, path: path, name: whole.tensor.name, expected: target,
        found: leaf == "bias" ? "the base's layers have no bias" : nil)
    }
    guard shape == whole.tensor.type.shape else {
      try refuseResized(whole.tensor, base: shape, found: whole.tensor.type.shape)
      throw ExpertError(
        .shapeMismatch, path: path, name: whole.tensor.name, expected: "\(shape)",
        found: "\(whole.tensor.type.shape)")
    }
    let stored = whole.name.canonical(module: name)
    tensors.append(LoRAExpert.Placed(name: stored, tensor: whole.tensor))
    let replacement = LoRAExpert.Replacement(tensor: name + "." + leaf, with: stored, isSame: false)
    guard base.model.tiesEmbeddings, ["model.embed_tokens", "lm_head"].contains(name) else {
      return [replacement]
    }
    // A saved module is a copy of its own; anything else is loaded into the tensor that both share.
    guard origin != .plain || !isSaved(whole.name.module) else { return [replacement] }
    let other = name == "lm_head" ? "model.embed_tokens" : "lm_head"
    if let twin = adapter.wholes.first(where: { (try? resolve($0.name.module))?.name == other }) {
      // PEFT loads both into one tensor.
      let (mine, theirs) = (adapter.file.source(of: whole.tensor), adapter.file.source(of: twin.tensor))
      guard twin.tensor.type == whole.tensor.type,
        try mine.hasSameBytes(as: theirs, count: whole.tensor.type.rawBytes)
      else {
        throw ExpertError(
          .duplicateFactor, path: path, name: whole.tensor.name, expected: "one", found: twin.tensor.name)
      }
      return [replacement]
    }
    return [replacement, LoRAExpert.Replacement(tensor: other + ".weight", with: stored, isSame: false)]
  }

  /// PEFT loads a whole tensor only where it looks for it: under `base_layer` where the module is adapted, and
  /// under its own name where it is not.
  private func checkOrigin(of whole: PEFTAdapter.Whole, _ origin: PEFTTensorName.Origin) throws {
    let module = whole.name.module
    let isAdapted = adapted.contains(ByteKey(module))
    let hasRows = adapter.tokens.contains { $0.name.module.hasSameBytes(as: module) }
    let expected: String? =
      switch origin {
      case .plain: isAdapted || hasRows ? "that \(module) is left alone" : nil
      case .baseLayer: isAdapted ? nil : "that \(module) is adapted"
      case .tokenAdapter: hasRows ? nil : "trainable_token_indices"
      }
    if let expected {
      throw ExpertError(.unannouncedTensor, path: path, name: whole.tensor.name, expected: expected)
    }
  }

  /// Whether a module is saved whole: PEFT compares endings.
  private func isSaved(_ module: String) -> Bool {
    configuration.modulesToSave.contains { module.hasByteSuffix($0) }
  }

  /// Takes tensors along that change nothing.
  mutating func keep(_ unused: [SafetensorsTensor]) {
    for tensor in unused { tensors.append(LoRAExpert.Placed(name: tensor.name, tensor: tensor)) }
  }

  /// A module that is to be saved whole has all its tensors in the file.
  func checkSavedModules() throws {
    let saved = configuration.modulesToSave
    let expected = base.model.tensors.map(\.name) + (base.model.tiesEmbeddings ? ["lm_head.weight"] : [])
    guard !saved.isEmpty, configuration.layerReplication.isEmpty, saved.count <= 10_000_000 / expected.count
    else { return }
    let present = Set(
      adapter.wholes.compactMap { whole -> ByteKey? in
        guard case .whole(let leaf, .plain) = whole.name.role,
          let name = (try? resolve(whole.name.module))?.name
        else { return nil }
        return ByteKey(name + "." + leaf)
      })
    for tensor in expected where !present.contains(ByteKey(tensor)) {
      // The module itself, or one that it lies in.
      var path = tensor.utf8[...]
      while let dot = path.lastIndex(of: UInt8(ascii: ".")) {
        path = path[..<dot]
        let module = String(decoding: path, as: UTF8.self)
        guard isSaved(module) else { continue }
        throw ExpertError(.missingFactor, path: self.path, name: module, expected: tensor)
      }
    }
  }

  /// How far each layer of the new stack looks back: transformers goes by the layer's place there.
  func stackedWindows() throws -> [Int?] {
    let count = configuration.layerReplication.reduce(0) { $0 + $1.count }
    let windows = base.model.slidingWindows
    guard count > 0, let first = windows.first else { return [] }
    if Set(windows).count == 1 { return Array(repeating: first, count: count) }
    guard count <= windows.count else {
      throw ExpertError(
        .unsupportedAdapter, path: configuration.path, name: "layer_replication",
        expected: "the base's layers look back differently far, and nothing says how far the new ones do",
        found: "a stack of \(count) layers over \(windows.count)")
    }
    return Array(windows.prefix(count))
  }

  /// Says so where the two differ in the number of tokens alone.
  private func refuseResized(_ tensor: SafetensorsTensor, base shape: [Int], found: [Int]) throws {
    guard shape.count == 2, found.count == 2, shape[1] == found[1], shape[0] == base.model.vocabularySize
    else {
      return
    }
    throw ExpertError(
      .resizedVocabulary, path: path, name: tensor.name, expected: "\(shape[0])", found: "\(found[0])")
  }

  mutating func place(_ rows: PEFTAdapter.Tokens) throws -> LoRAExpert.TokenRows {
    let (name, original) = try resolve(rows.name.module)
    guard let shape = names.shape(original + ".weight"), shape.count == 2,
      shape[0] == base.model.vocabularySize
    else {
      throw ExpertError(
        .wrongKind, path: path, name: rows.name.module, expected: "a linear layer or a norm",
        found: "an embedding")
    }
    guard shape[1] == rows.tensor.type.shape[1] else {
      throw ExpertError(
        .shapeMismatch, path: path, name: rows.tensor.name, expected: "\([rows.indices.count, shape[1]])",
        found: "\(rows.tensor.type.shape)")
    }
    if let beyond = rows.indices.first(where: { $0 >= shape[0] }) {
      throw ExpertError(
        .resizedVocabulary, path: path, name: rows.tensor.name, expected: "\(shape[0])",
        found: "\(beyond + 1)")
    }
    let stored = rows.name.canonical(module: name)
    tensors.append(LoRAExpert.Placed(name: stored, tensor: rows.tensor))
    return LoRAExpert.TokenRows(
      module: name, indices: rows.indices, with: stored,
      isTied: base.model.tiesEmbeddings && name == "model.embed_tokens"
        && !adapter.tokens.contains { $0.name.module.hasByteSuffix("lm_head") })
  }

  /// Every module that the configuration targets has its factors, and no other has.
  mutating func checkCompleteness() throws {
    let targets = configuration.targets
    if let what = targets.unknownPattern {
      notes.append("its target_modules cannot be compared with its tensors: the pattern has \(what)")
      return
    }
    let stacked = stackedModules()
    let bytes = (stacked + adapter.modules.map(\.name)).reduce(0) { $0 + $1.utf8.count }
    guard targets.cost <= 1_000_000_000 / max(bytes, 1) else {
      notes.append("its target_modules cannot be compared with its tensors: the patterns are too much work")
      return
    }
    // PEFT ties the two ends of a tied model without listing the other one.
    let tied: Set<String> =
      configuration.tiesWeights && base.model.tiesEmbeddings ? ["lm_head", "model.embed_tokens"] : []
    for module in adapter.modules where targets.contains(module.name) == false && !tied.contains(module.name)
    {
      throw ExpertError(.untargetedModule, path: path, name: module.name)
    }
    for name in stacked where targets.contains(name) == true && !adapted.contains(ByteKey(name)) {
      throw ExpertError(.missingFactor, path: path, name: name, expected: "lora_A and lora_B")
    }
  }

  /// Linear layers and embeddings of the model as PEFT saw it.
  private func stackedModules() -> [String] {
    let replication = configuration.layerReplication.flatMap(Array.init)
    let layers = replication.isEmpty ? Array(0..<base.model.layerCount) : replication
    var result = ["model.embed_tokens", "lm_head"]
    for layer in layers.indices {
      for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
        result.append("model.layers.\(layer).self_attn.\(name)")
      }
      for name in ["gate_proj", "up_proj", "down_proj"] { result.append("model.layers.\(layer).mlp.\(name)") }
    }
    return isBare ? result.map { $0.hasPrefix("model.") ? String($0.dropFirst(6)) : $0 } : result
  }
}
