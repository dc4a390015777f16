public import LMoECore
public import LMoEFormat

/// A LoRA adapter as PEFT's `save_pretrained` writes it: `adapter_config.json` and
/// `adapter_model.safetensors`, resolved to a table of modules.
public struct PEFTAdapter: Sendable {
  /// Modules with equal numbers.
  public struct Group: Hashable, Sendable {
    /// r.
    public let rank: Int
    /// α.
    public let alpha: Double
    /// What B·A is multiplied with: α/r, or α/√r.
    public let scaling: Double
    /// The modules' names, sorted.
    public var targets: [String]
  }

  /// One adapted module.
  public struct Module: Hashable, Sendable {
    /// Its name (`model.layers.0.self_attn.q_proj`).
    public let name: String
    /// Columns of A.
    public let inputFeatures: Int
    /// Rows of B.
    public let outputFeatures: Int
  }

  /// The directory.
  public let path: String
  /// The modules, sorted by name.
  public let modules: [Module]
  /// The modules' numbers, grouped.
  public let groups: [Group]
  /// What stands before a module's name in tensor names.
  public let prefix: String
  /// The name of the base it says it was trained on.
  public let baseName: String?
  /// The weights.
  public let file: SafetensorsFile
  /// Files of the directory that are not taken.
  public let leftOut: [String]
  /// Keys of the configuration that this tool does not know.
  public let unknownKeys: [String]
  let documents: [NewEntry]

  private static let weights = "adapter_model.safetensors"
  private static let configurationName = "adapter_config.json"

  /// Opens the adapter in the directory `path` and resolves it.
  ///
  /// - Throws: `ExpertError` that names what is not supported or does not fit; `FormatError`; `FileError`.
  public init(path: String, in system: any FileSystem = PosixFileSystem()) throws {
    let directory = try SourceDirectory(path, in: system)
    self.path = path
    guard directory.has(Self.configurationName) else {
      throw ExpertError(.noConfiguration, path: path, expected: Self.configurationName)
    }
    let configurationPath = path + "/" + Self.configurationName
    let configuration = try PEFTConfiguration(
      try directory.json(Self.configurationName), path: configurationPath)
    guard directory.safetensors.contains(Self.weights) else {
      throw ExpertError(.noWeights, path: path, expected: "no \(Self.weights)")
    }
    file = try SafetensorsFile(path: path + "/" + Self.weights, in: system)
    let factors = try LoRAFactors(file)
    prefix = factors.prefix
    modules = factors.modules
    var groups: [Group] = []
    for (module, rank) in zip(factors.modules, factors.ranks) {
      let resolved = configuration.resolve(module.name)
      guard resolved.rank == rank else {
        throw ExpertError(
          .rankMismatch, path: path, name: module.name, expected: "\(resolved.rank)", found: "\(rank)")
      }
      if let known = groups.firstIndex(where: {
        $0.rank == rank && $0.alpha == resolved.alpha && $0.scaling == resolved.scaling
      }) {
        groups[known].targets.append(module.name)
      } else {
        groups.append(
          Group(rank: rank, alpha: resolved.alpha, scaling: resolved.scaling, targets: [module.name]))
      }
    }
    self.groups = groups
    baseName = configuration.baseName
    unknownKeys = configuration.unknownKeys
    documents = try directory.documentEntries()
    leftOut = (directory.leftOut + directory.safetensors.filter { $0 != Self.weights }).sorted()
  }

  /// The number of elements of all tensors.
  public var parameters: Int { file.tensors.reduce(0) { $0 + $1.type.elementCount } }

  /// Makes sure that each module is a weight of the base, of the right shape.
  ///
  /// - Parameter shape: Gives the shape of a tensor of the base; nil if there is none.
  public func check(againstBase shape: (String) -> [Int]?) throws {
    for module in modules {
      guard let base = shape(module.name + ".weight") else {
        throw ExpertError(.noSuchModule, path: path, name: module.name)
      }
      guard base == [module.outputFeatures, module.inputFeatures] else {
        throw ExpertError(
          .shapeMismatch, path: path, name: module.name, expected: "\(base)",
          found: "\([module.outputFeatures, module.inputFeatures])")
      }
    }
  }
}

/// The pairs of factors in an adapter's file.
private struct LoRAFactors {
  let prefix: String
  let modules: [PEFTAdapter.Module]
  /// The rank of each module.
  let ranks: [Int]

  private static let prefix = "base_model.model."

  init(_ file: SafetensorsFile) throws {
    guard !file.tensors.isEmpty else { throw ExpertError(.emptyAdapter, path: file.path) }
    var a: [ByteKey: [Int]] = [:]
    var b: [ByteKey: [Int]] = [:]
    for tensor in file.tensors {
      guard tensor.name.hasPrefix(Self.prefix) else {
        throw ExpertError(.unknownTensor, path: file.path, name: tensor.name)
      }
      let name = String(tensor.name.dropFirst(Self.prefix.count))
      let isA = name.hasSuffix(".lora_A.weight")
      guard isA || name.hasSuffix(".lora_B.weight") else {
        throw ExpertError(.unknownTensor, path: file.path, name: tensor.name)
      }
      let shape = tensor.type.shape
      guard shape.count == 2, !shape.contains(0) else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: tensor.name, expected: "two dimensions, none of them zero",
          found: "the shape \(shape)")
      }
      guard [.f64, .f32, .f16, .bf16].contains(tensor.type.dtype) else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: tensor.name, expected: "a float dtype",
          found: "the dtype \(tensor.type.dtype.name)")
      }
      let module = ByteKey(String(name.dropLast(".lora_A.weight".count)))
      if isA { a[module] = shape } else { b[module] = shape }
    }
    var modules: [PEFTAdapter.Module] = []
    var ranks: [Int] = []
    for module in Set(a.keys).union(b.keys).sorted() {
      guard let shapeA = a[module], let shapeB = b[module] else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: module.text, expected: "both lora_A and lora_B",
          found: a[module] == nil ? "only lora_B" : "only lora_A")
      }
      guard shapeA[0] == shapeB[1] else {
        throw ExpertError(
          .invalidFactor, path: file.path, name: module.text, expected: "equal ranks",
          found: "rank \(shapeA[0]) in lora_A and \(shapeB[1]) in lora_B")
      }
      modules.append(
        PEFTAdapter.Module(name: module.text, inputFeatures: shapeA[1], outputFeatures: shapeB[0]))
      ranks.append(shapeA[0])
    }
    prefix = Self.prefix
    self.modules = modules
    self.ranks = ranks
  }
}
