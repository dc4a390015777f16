import LMoECore
import LMoEFormat

/// LoRA adapters in GGUF files.
enum GGUFAdapter {
  /// Makes the adapter in `file` over into PEFT's form, for a base of the model `model`.
  ///
  /// - Throws: `ExpertError` that names the key or tensor.
  static func conversion(_ file: GGUFFile, model: ModelConfiguration) throws -> AdapterConversion {
    func text(_ key: String) -> String { file.value(key)?.string ?? "" }
    func refused(_ key: String, _ remedy: String) -> ExpertError {
      ExpertError(
        .unsupportedAdapter, path: file.path, name: key, expected: remedy,
        found: file.value(key)?.shortText ?? "missing")
    }
    guard text("general.type") == "adapter" else {
      throw refused("general.type", "import a model with --base")
    }
    guard text("adapter.type") == "lora" else {
      throw refused("adapter.type", "only lora adapters can be imported")
    }
    let architecture = GGUFArchitecture(model.family).rawValue
    guard text("general.architecture").hasSameBytes(as: architecture) else {
      throw refused("general.architecture", "the base is of the architecture \(architecture)")
    }
    if file.value("adapter.alora.invocation_tokens") != nil {
      throw refused("adapter.alora.invocation_tokens", "train it as an ordinary LoRA")
    }
    let alpha = file.value("adapter.lora.alpha")?.number ?? 0
    var result = AdapterConversion(path: file.path)
    var pairs: [ByteKey: [String: GGUFTensor]] = [:]
    for tensor in file.tensors {
      let leaf = [".lora_a", ".lora_b"].first { tensor.name.hasByteSuffix($0) }
      guard let leaf, FloatValues(tensor.type) != nil, tensor.type.shape.count == 2 else {
        throw ExpertError(.unknownTensor, path: file.path, name: tensor.name)
      }
      let name = String(decoding: tensor.name.utf8.dropLast(leaf.utf8.count), as: UTF8.self)
      pairs[ByteKey(name), default: [:]][leaf] = tensor
    }
    for (name, pair) in pairs.sorted(by: { $0.key < $1.key }) {
      guard let weight = GGUFNames.model(tensor: name.text), weight.hasByteSuffix(".weight") else {
        throw ExpertError(.unknownTensor, path: file.path, name: name.text)
      }
      let module = String(decoding: weight.utf8.dropLast(7), as: UTF8.self)
      guard module != "model.embed_tokens" else {
        throw ExpertError(
          .unsupportedAdapter, path: file.path, name: name.text,
          expected: "import the adapter that it was converted from", found: "an adapted embedding")
      }
      guard let a = pair[".lora_a"], let b = pair[".lora_b"] else {
        throw ExpertError(
          .missingFactor, path: file.path, name: name.text,
          expected: pair[".lora_a"] == nil ? "lora_a" : "lora_b")
      }
      let rank = a.type.shape[0]
      guard rank == b.type.shape[1], rank > 0 else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: name.text, expected: "equal ranks",
          found: "rank \(rank) in lora_a and \(b.type.shape[1]) in lora_b")
      }
      let order = GGUFArchitecture.order(of: weight, in: model, isExport: false)
      result.add(
        AdapterConversion.Module(
          name: module, rank: rank, scaling: alpha == 0 ? 1 : alpha / Double(rank)),
        a: try entry(a, file, AdapterConversion.name(module, "lora_A.weight"), nil),
        b: try entry(b, file, AdapterConversion.name(module, "lora_B.weight"), order))
    }
    return result
  }

  /// A factor as floats, its rows in the order of a checkpoint.
  private static func entry(
    _ tensor: GGUFTensor, _ file: GGUFFile, _ name: String, _ order: HeadOrder?
  ) throws -> NewEntry {
    var source = file.source(of: tensor)
    var type = tensor.type
    if type.geometry != nil {
      guard let cast = CastSource(source, type, as: .f32),
        let made = TensorType(dtype: .f32, shape: type.shape.map { UInt64($0) })
      else {
        throw ExpertError(.unsupportedElement, path: file.path, name: tensor.name, found: tensor.ggml.name)
      }
      (source, type) = (cast, made)
    }
    if let order {
      guard type.shape[0].isMultiple(of: order.dimension) else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: tensor.name,
          expected: "rows for heads of \(order.dimension)", found: "the shape \(type.shape)")
      }
      source = ReorderedSource(source, type, order)
    }
    return NewEntry(tensor: name, type: type, source: source)
  }
}
