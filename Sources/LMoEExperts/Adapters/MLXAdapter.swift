import LMoECore
import LMoEFormat

/// Adapters of mlx-lm: `adapters.safetensors` and an `adapter_config.json` of another kind than PEFT's.
///
/// Factors are the other way round (`lora_a` is in × rank), the scale is what B·A is multiplied with, and one for
/// all modules.
enum MLXAdapter {
  static let weights = "adapters.safetensors"
  /// What its configuration is called beside the one that is made of it.
  static let kept = "mlx_adapter_config.json"

  /// Makes the adapter in the directory `path` over.
  ///
  /// - Returns: nil if it is none of mlx-lm's.
  static func conversion(_ path: String, in system: any FileSystem) throws -> AdapterConversion? {
    guard system.kind(path) == .directory else { return nil }
    let directory = try SourceDirectory(path, in: system)
    let name = PEFTAdapter.configurationName
    guard directory.has(name) else { return nil }
    let json = try directory.json(name)
    guard json["peft_type"] == nil, json["fine_tune_type"] != nil || json["lora_parameters"] != nil else {
      return nil
    }
    let file = directory.path + "/" + name
    let reader = try ConfigurationReader(json, path: file)
    let kind = try reader.text("fine_tune_type") ?? "lora"
    guard kind == "lora" || kind == "dora" else {
      throw ExpertError(
        .unsupportedAdapter, path: file, name: "fine_tune_type",
        expected: "only lora and dora adapters can be imported", found: JSON.string(kind).shortText)
    }
    guard let parameters = try reader.object("lora_parameters"),
      let scale = try reader.inside(parameters, of: "lora_parameters").number("scale")
    else { throw reader.invalid("lora_parameters has no scale") }
    guard system.kind(directory.path + "/" + weights) == .file else {
      throw ExpertError(.noWeights, path: directory.path, expected: "no \(weights)")
    }
    let source = try SafetensorsFile(path: directory.path + "/" + weights, in: system)
    var result = AdapterConversion(path: directory.path)
    result.baseName = try reader.text("model")
    result.files = [(kept, Array(json.serialized(pretty: true).utf8))]
    try addModules(of: source, scale: scale, isDoRA: kind == "dora", to: &result)
    return result
  }

  private static func addModules(
    of file: SafetensorsFile, scale: Double, isDoRA: Bool, to result: inout AdapterConversion
  ) throws {
    var modules: [ByteKey: [String: SafetensorsTensor]] = [:]
    for tensor in file.tensors {
      let parts = tensor.name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      let leaf = parts.last.map { String(decoding: $0, as: UTF8.self) } ?? ""
      guard parts.count > 1, ["lora_a", "lora_b"].contains(leaf) || leaf == "m" && isDoRA else {
        throw ExpertError(.unknownTensor, path: file.path, name: tensor.name)
      }
      guard FloatValues(tensor.type.dtype) != nil, tensor.type.shape.count == (leaf == "m" ? 1 : 2) else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: tensor.name,
          expected: leaf == "m" ? "floats in one dimension" : "floats in two dimensions",
          found: "\(tensor.type.dtype.name) \(tensor.type.shape)")
      }
      let module = String(decoding: tensor.name.utf8.dropLast(leaf.utf8.count + 1), as: UTF8.self)
      modules[ByteKey(module), default: [:]][leaf] = tensor
    }
    for (module, roles) in modules.sorted(by: { $0.key < $1.key }) {
      func require(_ leaf: String) throws -> SafetensorsTensor {
        guard let tensor = roles[leaf] else {
          throw ExpertError(.missingFactor, path: file.path, name: module.text, expected: leaf)
        }
        return tensor
      }
      let (a, b) = (try require("lora_a"), try require("lora_b"))
      guard a.type.shape[1] == b.type.shape[0], a.type.shape[1] > 0 else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: module.text, expected: "equal ranks",
          found: "rank \(a.type.shape[1]) in lora_a and \(b.type.shape[0]) in lora_b")
      }
      guard !module.text.hasByteSuffix("embed_tokens") else {
        // Its output layer, where it is the same, changes along in mlx and not in PEFT.
        throw ExpertError(
          .unsupportedAdapter, path: file.path, name: module.text,
          expected: "train it on the linear layers", found: "an adapted embedding of mlx-lm")
      }
      result.add(
        AdapterConversion.Module(name: module.text, rank: a.type.shape[1], scaling: scale, isDoRA: isDoRA),
        a: try transposed(a, file, AdapterConversion.name(module.text, "lora_A.weight")),
        b: try transposed(b, file, AdapterConversion.name(module.text, "lora_B.weight")),
        magnitude: isDoRA
          ? try entry(
            try require("m"), file, AdapterConversion.name(module.text, "lora_magnitude_vector")) : nil)
    }
  }

  private static func transposed(
    _ tensor: SafetensorsTensor, _ file: SafetensorsFile, _ name: String
  ) throws -> NewEntry {
    let (rows, columns) = (tensor.type.shape[0], tensor.type.shape[1])
    let bytes = try file.source(of: tensor).bytes(of: tensor.type)
      .transposed(rows: rows, columns: columns, width: tensor.type.unitBytes)
    guard let made = AdapterConversion.tensor(name, tensor.type.dtype, [columns, rows], bytes) else {
      throw FormatError(.tooLarge, path: file.path, entry: tensor.name)
    }
    return made
  }

  private static func entry(
    _ tensor: SafetensorsTensor, _ file: SafetensorsFile, _ name: String
  ) throws -> NewEntry {
    NewEntry(tensor: name, type: tensor.type, source: file.source(of: tensor))
  }
}
