public import LMoECore
public import LMoEFormat

/// A base model as Hugging Face's `save_pretrained` writes it: a directory with `config.json` and one or
/// several safetensors files.
public struct HFCheckpoint: Sendable {
  /// The directory.
  public let path: String
  /// `config.json`.
  public let configuration: JSON
  /// The safetensors files in order, each with its name.
  public let files: [(name: String, file: SafetensorsFile)]
  /// Files of the directory that are not taken.
  public let leftOut: [String]
  /// Where tokenizer, chat template and generation configuration are.
  public let tokenizer: TokenizerFiles
  let documents: [NewEntry]

  /// Opens the checkpoint in the directory `path` and checks that its shards and its index agree.
  ///
  /// - Throws: `ExpertError` that names the missing, stale or duplicate shard or tensor; `FormatError` for a
  ///   damaged safetensors file; `FileError`.
  public init(path: String, in system: any FileSystem = PosixFileSystem()) throws {
    let directory = try SourceDirectory(path, in: system)
    let path = directory.path
    self.path = path
    guard directory.has("config.json") else {
      throw ExpertError(.noConfiguration, path: path, expected: "config.json")
    }
    configuration = try directory.json("config.json")
    guard configuration.object != nil else {
      throw ExpertError(.invalidConfiguration, path: path + "/config.json", found: "not a JSON object")
    }
    let names = try Self.shardNames(directory)
    var files: [(name: String, file: SafetensorsFile)] = []
    for name in names.files {
      files.append((name, try SafetensorsFile(path: path + "/" + name, in: system)))
    }
    self.files = files
    try Self.check(files, against: names.weightMap, path: path)
    documents = try directory.documentEntries()
    let key = "tokenizer_config.json"
    tokenizer = TokenizerFiles(
      files: directory.documents, tokenizerConfiguration: directory.has(key) ? try directory.json(key) : nil)
    leftOut = (directory.leftOut + directory.safetensors.filter { !names.files.contains($0) }).sorted()
  }

  private static let index = "model.safetensors.index.json"

  /// The weight files, and where the index says each tensor is.
  private static func shardNames(
    _ directory: SourceDirectory
  ) throws -> (files: [String], weightMap: [(tensor: String, file: String)]?) {
    let path = directory.path
    let shards = directory.safetensors.filter(isShardName)
    let hasSingle = directory.safetensors.contains("model.safetensors")
    guard directory.has(index) else {
      if let stray = shards.first { throw ExpertError(.staleShard, path: path, name: stray) }
      guard hasSingle else {
        if let pickle = directory.leftOut.first(where: {
          $0.hasPrefix("pytorch_model") && $0.hasSuffix(".bin")
        }) {
          throw ExpertError(.pickledWeights, path: path, name: pickle)
        }
        throw ExpertError(.noWeights, path: path, expected: "neither model.safetensors nor \(index)")
      }
      return (["model.safetensors"], nil)
    }
    let json = try directory.json(index)
    let indexPath = path + "/" + index
    // Some exporters write an index for a single file too.
    let isOfSingle =
      json["weight_map"]?.object?.members.allSatisfy { $0.value == "model.safetensors" } ?? false
    if hasSingle, !isOfSingle { throw ExpertError(.ambiguousWeights, path: path) }
    guard let map = json["weight_map"]?.object else {
      throw ExpertError(.invalidIndex, path: indexPath, found: "it has no weight_map")
    }
    var weightMap: [(tensor: String, file: String)] = []
    for (tensor, value) in map.members {
      guard let file = value.string, !file.isEmpty, !file.utf8.contains(UInt8(ascii: "/")), file != "..",
        file != "."
      else {
        throw ExpertError(
          .invalidIndex, path: indexPath, found: "the file of \(tensor) is not a plain file name")
      }
      weightMap.append((tensor, file))
    }
    let listed = Set(weightMap.map { ByteKey($0.file) }).sorted().map(\.text)
    for file in listed where !directory.safetensors.contains(where: { $0.hasSameBytes(as: file) }) {
      throw ExpertError(.missingShard, path: indexPath, name: file)
    }
    for shard in shards where !listed.contains(where: { $0.hasSameBytes(as: shard) }) {
      throw ExpertError(.staleShard, path: path, name: shard)
    }
    return (listed, weightMap)
  }

  /// Whether a name is like `model-00001-of-00004.safetensors`.
  private static func isShardName(_ name: String) -> Bool {
    name.hasPrefix("model-") && name.contains("-of-")
  }

  /// Every tensor must be where the index says, once, and nowhere else.
  private static func check(
    _ files: [(name: String, file: SafetensorsFile)], against map: [(tensor: String, file: String)]?,
    path: String
  ) throws {
    var place: [ByteKey: String] = [:]
    for (name, file) in files {
      for tensor in file.tensors {
        if let other = place.updateValue(name, forKey: ByteKey(tensor.name)) {
          throw ExpertError(.duplicateTensor, path: path, name: tensor.name, expected: other, found: name)
        }
      }
    }
    if place.isEmpty { throw ExpertError(.noWeights, path: path, expected: "the files are empty") }
    guard let map else { return }
    var listed: Set<ByteKey> = []
    for (tensor, file) in map {
      listed.insert(ByteKey(tensor))
      guard place[ByteKey(tensor)]?.hasSameBytes(as: file) == true else {
        throw ExpertError(.missingTensor, path: path, name: tensor, found: file)
      }
    }
    for (tensor, file) in place.sorted(by: { $0.key < $1.key }) where !listed.contains(tensor) {
      throw ExpertError(.unlistedTensor, path: path, name: tensor.text, found: file)
    }
  }

  /// The model that the configuration describes, every weight of it found.
  ///
  /// - Parameter ignoring: Keys of `config.json` that the user says change nothing.
  /// - Throws: `ExpertError` that names the key or tensor that is not supported, missing or misshapen.
  public func resolved(ignoring: Set<String> = []) throws -> CheckpointModel {
    try CheckpointModel(self, ignoring: ignoring)
  }

  /// `architectures[0]` of the configuration.
  public var architecture: String? { configuration["architectures"]?.array?.first?.string }

  /// `model_type` of the configuration.
  public var modelType: String? { configuration["model_type"]?.string }

  /// All tensors, with the file each is in.
  public var tensors: [(tensor: SafetensorsTensor, file: SafetensorsFile)] {
    files.flatMap { item in item.file.tensors.map { ($0, item.file) } }
  }

  /// The number of elements of all tensors.
  public var parameters: Int { tensors.reduce(0) { $0 + $1.tensor.type.elementCount } }
}
