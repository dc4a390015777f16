import LMoECore
import LMoEFormat

/// Finds the place of an adapter's tensors in the model of a base.
struct ExpertPlacement {
  let adapter: PEFTAdapter
  let base: BaseDescription
  let configuration: PEFTConfiguration
  private(set) var tensors: [LoRAExpert.Placed] = []
  var notes: [String] = []
  /// Whether PEFT saw the model without the leading `model.`.
  let isBare: Bool

  /// Paths of the modules with factors.
  let adapted: Set<ByteKey>

  init(_ adapter: PEFTAdapter, _ base: BaseDescription) {
    adapted = Set(adapter.modules.map { ByteKey($0.name) })
    self.adapter = adapter
    self.base = base
    configuration = adapter.configuration
    isBare = adapter.modules.contains { $0.name.hasPrefix("layers.") || $0.name == "embed_tokens" }
  }

  var names: TensorNames { base.names }
  var path: String { adapter.file.path }

  /// The model's name of a module, and that of the base's module whose weights it uses: they differ where
  /// layers are replicated.
  func resolve(_ module: String) throws -> (name: String, base: String) {
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
  func isSaved(_ module: String) -> Bool {
    configuration.modulesToSave.contains { module.hasByteSuffix($0) }
  }

  /// Takes tensors along that change nothing.
  mutating func keep(_ unused: [SafetensorsTensor]) {
    let prefix = PEFTTensorName.prefix
    for tensor in unused {
      let name = tensor.name.hasPrefix(prefix) ? tensor.name : prefix + tensor.name
      tensors.append(LoRAExpert.Placed(name: name, tensor: tensor))
    }
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
}
