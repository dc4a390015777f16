import LMoECore

extension ExpertPlacement {
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
