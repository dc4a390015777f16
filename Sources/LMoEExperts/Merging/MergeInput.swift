public import LMoECore
import LMoEFormat

/// An expert on its way into a merge: of a bundle, or a PEFT directory; no base is needed for it.
public struct MergeInput: Sendable {
  /// A module that it changes.
  struct Module: Sendable {
    /// Its name.
    let name: String
    /// r.
    let rank: Int
    /// What B·A is multiplied with.
    let scaling: Double
    /// Rows of the weight that changes.
    let rows: Int
    /// Columns of it.
    let columns: Int
    let isEmbedding: Bool
    /// Names of tensors.
    let a: String
    let b: String
    /// Whether the tensor `b` is the transpose of B.
    var isTransposedB = false
    let bias: String?
    let magnitude: String?

    var isDoRA: Bool { magnitude != nil }
  }

  /// What it is called: the name of the expert or of the directory.
  public let label: String
  /// Where it is.
  public let path: String
  /// The modules by name.
  let modules: [ByteKey: Module]
  /// Its tensors.
  let tensors: any ExpertTensors
  /// Whole tensors of the base that it replaces: the model's name and its own.
  private(set) var replacements: [(tensor: String, with: String)]
  /// Embeddings of which it replaces rows.
  let rowsReplaced: [String]
  /// The name of the base that it says it was trained on.
  public let baseName: String?
  /// The source id of its base, where it is known.
  public let baseSourceID: String?
  /// Its id, if it is in a bundle.
  public let id: Bits128?

  /// The same without whole tensors that have the base's own values: PEFT saves a copy of an embedding it adapts.
  ///
  /// - Throws: `ExpertError`, `FormatError`.
  public func withoutCopies(of base: BaseWeights) throws -> MergeInput {
    var result = self
    result.replacements = try replacements.filter { item in
      guard let own = try base.floats(of: item.tensor) else { return true }
      return try tensors.floats([item.with], on: .shared)[0] != own
    }
    return result
  }

  /// The largest rank of its modules.
  public var rank: Int { modules.values.reduce(0) { max($0, $1.rank) } }
}

extension MergeInput {
  /// Takes an adapter.
  ///
  /// - Parameter base: Places the modules on a base, where there is one, so that they go by the model's names.
  /// - Throws: `ExpertError` if it does not fit that base.
  public init(_ adapter: PEFTAdapter, label: String? = nil, on base: BaseDescription? = nil) throws {
    guard adapter.configuration.layerReplication.isEmpty else {
      throw ExpertError(
        .noStaticDelta, path: adapter.path, name: "layer_replication",
        found: "it stacks the base's layers anew")
    }
    let placed = try base.map { try LoRAExpert(adapter, on: $0) }
    let isBare =
      base == nil && adapter.modules.contains { $0.name.hasPrefix("layers.") || $0.name == "embed_tokens" }
    var modules: [ByteKey: Module] = [:]
    for module in placed?.modules ?? adapter.modules {
      let name =
        isBare && !module.name.hasPrefix("model.") && module.name != "lm_head"
        ? "model." + module.name : module.name
      var (bias, magnitude): (String?, String?)
      for vector in module.vectors {
        switch PEFTTensorName(vector.name)?.role {
        case .magnitude: magnitude = vector.name
        default: bias = vector.name
        }
      }
      modules[ByteKey(name)] = Module(
        name: name, rank: module.rank, scaling: module.scaling,
        rows: module.isEmbedding ? module.inputFeatures : module.outputFeatures,
        columns: module.isEmbedding ? module.outputFeatures : module.inputFeatures,
        isEmbedding: module.isEmbedding, a: module.a.name, b: module.b.name, bias: bias, magnitude: magnitude)
    }
    self.label = label ?? originName(adapter.path)
    path = adapter.path
    self.modules = modules
    tensors = FileTensors(adapter.file)
    let placedNames = Dictionary(
      (placed?.tensors ?? []).map { (ByteKey($0.name), $0.tensor.name) },
      uniquingKeysWith: { first, _ in first })
    replacements =
      placed?.replacements.filter { !$0.isSame }.map { ($0.tensor, placedNames[ByteKey($0.with)] ?? $0.with) }
      ?? adapter.wholes.map { ($0.tensor.name, $0.tensor.name) }
    rowsReplaced = adapter.trainedTokens.map(\.module)
    baseName = adapter.baseName
    baseSourceID = nil
    id = nil
  }

  /// Takes an expert of a bundle.
  ///
  /// - Throws: `ExpertError` with `invalid-expert`, `unsupported-adapter` or `no-static-delta`.
  public init(_ expert: StoredExpert, label: String? = nil) throws {
    let (card, path) = (expert.card, expert.path)
    _ = try ExpertFit(card: card, manifest: expert.manifest, path: path)
    guard card["layer_replication"] == nil else {
      throw ExpertError(
        .noStaticDelta, path: path, name: "layer_replication", found: "it stacks the base's layers anew")
    }
    guard let groups = ModuleGroup.groups(ofCard: card) else {
      throw ExpertError(.invalidExpert, path: path, found: "its card has no table of modules")
    }
    let prefix = card["prefix"]?.string ?? ""
    var modules: [ByteKey: Module] = [:]
    for group in groups {
      for target in group.targets {
        modules[ByteKey(target)] = try Self.module(target, group.numbers, prefix, expert)
      }
    }
    self.label = label ?? expert.bank.shortName
    self.path = path
    self.modules = modules
    tensors = BankTensors(expert)
    replacements = (card["replaces"]?.array ?? []).filter { $0["same"]?.bool != true }.compactMap { item in
      item["tensor"]?.string.flatMap { tensor in item["with"]?.string.map { (tensor, $0) } }
    }
    rowsReplaced = (card["tokens"]?.array ?? []).compactMap { $0["module"]?.string }
    baseName = card["base"]?["name"]?.string
    baseSourceID = expert.baseSourceID
    id = expert.bank.id
  }

  /// A module of an expert of a bundle.
  private static func module(
    _ target: String, _ numbers: ModuleGroup.Numbers, _ prefix: String, _ expert: StoredExpert
  ) throws -> Module {
    let bias = numbers.hasBias ? prefix + target + ".lora_B.bias" : nil
    let magnitude = numbers.isDoRA ? prefix + target + ".lora_magnitude_vector" : nil
    if !numbers.isEmbedding, let stored = StoredFactors(of: target, prefix: prefix, in: expert.manifest),
      stored.rank == numbers.rank
    {
      return Module(
        name: target, rank: stored.rank, scaling: numbers.scaling, rows: stored.outputs,
        columns: stored.inputs,
        isEmbedding: false, a: stored.a.name, b: stored.b.name, isTransposedB: stored.isTransposed,
        bias: bias,
        magnitude: magnitude)
    }
    let names = (prefix + target + ".lora_embedding_A", prefix + target + ".lora_embedding_B")
    guard numbers.isEmbedding, let a = expert.manifest.tensor(names.0)?.type.shape,
      let b = expert.manifest.tensor(names.1)?.type.shape, a.count == 2, b.count == 2, a[0] == numbers.rank,
      b[1] == numbers.rank
    else {
      throw ExpertError(
        .invalidExpert, path: expert.path,
        found: "the factors of \(target) are not two of rank \(numbers.rank)")
    }
    return Module(
      name: target, rank: numbers.rank, scaling: numbers.scaling, rows: a[1], columns: b[0],
      isEmbedding: true,
      a: names.0, b: names.1, bias: bias, magnitude: magnitude)
  }
}
