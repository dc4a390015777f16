import LMoECore

/// Why a checkpoint or an adapter was not taken: a code and its facts.
public struct ExpertError: Error, Hashable, Sendable {
  /// The kind of error.
  public enum Code: String, Hashable, Sendable {
    case notADirectory = "not-a-directory"
    case noWeights = "no-weights"
    case ambiguousWeights = "ambiguous-weights"
    case noConfiguration = "no-configuration"
    case invalidConfiguration = "invalid-configuration"
    case invalidIndex = "invalid-index"
    case missingShard = "missing-shard"
    case staleShard = "stale-shard"
    case missingTensor = "missing-tensor"
    case unlistedTensor = "unlisted-tensor"
    case duplicateTensor = "duplicate-tensor"
    case unsupportedAdapter = "unsupported-adapter"
    case unsupportedPattern = "unsupported-pattern"
    case emptyAdapter = "empty-adapter"
    case unknownTensor = "unknown-tensor"
    case invalidFactor = "invalid-factor"
    case rankMismatch = "rank-mismatch"
    case noSuchModule = "no-such-module"
    case shapeMismatch = "shape-mismatch"
    case invalidName = "invalid-name"
    case noBase = "no-base"
    case notExportable = "not-exportable"
    case outputExists = "output-exists"
    case noExpertNamed = "no-expert-named"
    case invalidExpert = "invalid-expert"
    case tensorMismatch = "tensor-mismatch"
    case baseMismatch = "base-mismatch"
    case otherBase = "other-base"
  }

  /// The kind of error.
  public let code: Code
  /// The file or directory.
  public let path: String
  /// The tensor, module, key or name it is about.
  public let name: String?
  /// What it had to be.
  public let expected: String?
  /// What it was.
  public let found: String?

  /// Makes an error of its facts.
  public init(
    _ code: Code, path: String, name: String? = nil, expected: String? = nil, found: String? = nil
  ) {
    self.code = code
    self.path = path
    self.name = name
    self.expected = expected
    self.found = found
  }
}

extension ExpertError: CustomStringConvertible {
  /// One sentence that names the file, the tensor and the remedy.
  public var description: String {
    let path = path.printable
    let name = "\"\((name ?? "?").printable)\""
    let found = (found ?? "?").printable
    let expected = (expected ?? "?").printable
    switch code {
    case .notADirectory: return "\(path) is not a directory"
    case .noWeights:
      return
        "\(path) holds no safetensors weights (\(expected)); save the model again with safe_serialization"
    case .ambiguousWeights:
      return
        "\(path) holds both model.safetensors and model.safetensors.index.json; remove the one that is old"
    case .noConfiguration:
      return "\(path) has no \(expected); point at the directory that save_pretrained wrote"
    case .invalidConfiguration: return "\(path) is not a valid configuration: \(found)"
    case .invalidIndex: return "\(path) is not a valid shard index: \(found)"
    case .missingShard:
      return "\(path) names the shard \(name), which is not there; download the checkpoint again"
    case .staleShard:
      return "\(path): the shard \(name) belongs to no index; remove it, or restore the index that names it"
    case .missingTensor:
      return
        "\(path): the index says that \(found) holds the tensor \(name), and it does not; the index is stale: download the checkpoint again"
    case .unlistedTensor:
      return
        "\(path): the shard \(found) holds the tensor \(name), which the index does not list there; the index is stale: download the checkpoint again"
    case .duplicateTensor: return "\(path): the tensor \(name) stands in two shards, \(expected) and \(found)"
    case .unsupportedAdapter:
      return "\(path): \(name) is \(found), which this tool cannot represent yet; \(expected)"
    case .unsupportedPattern:
      return
        "\(path): the pattern \(name) in \(expected) is not a plain module name; write it out as module names"
    case .emptyAdapter: return "\(path) holds no LoRA tensors; the adapter was saved empty: save it again"
    case .unknownTensor:
      return "\(path): the tensor \(name) is not a LoRA factor this tool knows; nothing was imported"
    case .invalidFactor: return "\(path): the LoRA factor \(name) has \(found), and needs \(expected)"
    case .rankMismatch:
      return
        "\(path): the module \(name) has rank \(found) in its tensors and \(expected) in adapter_config.json"
    case .noSuchModule:
      return
        "\(path): the adapter changes \(name), which the base does not have; it was trained on another base"
    case .shapeMismatch:
      return
        "\(path): the adapter's factors for \(name) are for a weight of \(found), and the base has \(expected); it was trained on another base"
    case .invalidName:
      return
        "\(name) cannot be the name of an expert: use 1 to 255 bytes without \"/\", \"=\", \",\", \"#\", control characters and leading \"-\""
    case .noBase: return "\(path) has no base bank; import one first"
    case .notExportable: return "\(path): \(name) cannot be exported: \(found)"
    case .outputExists: return "\(path) already exists; choose another path or remove it"
    case .noExpertNamed:
      return "\(path) is a bundle; name one of its experts as \(path)#NAME: it has \(found)"
    case .invalidExpert: return "\(path) is not a valid expert: \(found)"
    case .tensorMismatch:
      return
        "\(path): the tensor \(name) has \(found), and the base asks for \(expected); it was trained on another base"
    case .baseMismatch:
      return
        "\(path) was trained on the base \(found), and this bundle's base is \(expected); add it to a bundle of its own base, or accept this one with --allow-base-mismatch"
    case .otherBase:
      return
        "\(path) is not the base of \(expected): the tensor \(name) \(found); \"lmoe-tool verify \(expected) --against-base \(path)\" lists all that differs"
    }
  }
}
