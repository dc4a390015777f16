public import LMoECore
public import LMoEFormat

/// A LoRA adapter as PEFT's `save_pretrained` writes it: `adapter_config.json` and
/// `adapter_model.safetensors`, each tensor recognised by its name.
public struct PEFTAdapter: Sendable {
  /// The directory.
  public let path: String
  /// The weights.
  public let file: SafetensorsFile
  /// The adapted modules by the paths PEFT had for them, sorted.
  public let modules: [LoRAModule]
  /// Whole tensors of the base that it brings along, in file order.
  let wholes: [Whole]
  /// Rows of embeddings that it brings along.
  let tokens: [Tokens]
  /// Tensors that change nothing: what PEFT's wrappers kept of the base.
  let unused: [SafetensorsTensor]
  let configuration: PEFTConfiguration
  let documents: [NewEntry]
  /// Files of the directory that are not taken.
  public let leftOut: [String]

  /// A whole tensor of the base.
  struct Whole: Sendable {
    let tensor: SafetensorsTensor
    let name: PEFTTensorName
  }

  /// Rows of an embedding.
  struct Tokens: Sendable {
    let tensor: SafetensorsTensor
    let name: PEFTTensorName
    let indices: [Int]
  }

  /// The name of the base it says it was trained on.
  public var baseName: String? { configuration.baseName }
  /// Keys of the configuration that this tool does not know.
  public var unknownKeys: [String] { configuration.unknownKeys }
  /// The tensors of the base that it brings along whole, by the paths PEFT had for them.
  public var replacedTensors: [String] {
    wholes.map { whole in
      guard case .whole("bias", _) = whole.name.role else { return whole.name.module }
      return whole.name.module + ".bias"
    }
  }
  /// The embeddings of which it brings rows along, and how many.
  public var trainedTokens: [(module: String, count: Int)] {
    tokens.map { ($0.name.module, $0.indices.count) }
  }
  /// The number of elements of all tensors.
  public var parameters: Int { file.tensors.reduce(0) { $0 + $1.type.elementCount } }

  static let weights = "adapter_model.safetensors"
  static let configurationName = "adapter_config.json"

  /// Opens the adapter in the directory `path`.
  ///
  /// - Throws: `ExpertError` that names what is not supported or does not hold together; `FormatError`;
  ///   `FileError`.
  public init(path: String, in system: any FileSystem = PosixFileSystem()) throws {
    let directory = try SourceDirectory(path, in: system)
    let path = directory.path
    self.path = path
    guard directory.has(Self.configurationName) else {
      throw ExpertError(
        .noConfiguration, path: path, expected: Self.configurationName,
        found: Self.inner(directory, in: system))
    }
    configuration = try PEFTConfiguration(
      try directory.json(Self.configurationName), path: path + "/" + Self.configurationName)
    guard directory.safetensors.contains(Self.weights) else {
      throw directory.leftOut.contains("adapter_model.bin")
        ? ExpertError(.pickledWeights, path: path, name: "adapter_model.bin")
        : ExpertError(.noWeights, path: path, expected: "no \(Self.weights)")
    }
    file = try SafetensorsFile(path: path + "/" + Self.weights, in: system)
    guard !file.tensors.isEmpty else { throw ExpertError(.emptyAdapter, path: file.path) }
    var collected = AdapterTensors(file: file)
    for tensor in file.tensors { try collected.add(tensor) }
    modules = try collected.modules(configuration)
    wholes = collected.wholes
    tokens = try collected.tokens(configuration)
    unused = collected.unused
    guard !modules.isEmpty || !tokens.isEmpty else { throw ExpertError(.emptyAdapter, path: file.path) }
    documents = try directory.documentEntries()
    leftOut = (directory.leftOut + directory.safetensors.filter { $0 != Self.weights }).sorted()
  }

  /// The directory below that holds an adapter: PEFT saves the second adapter of a model under its name.
  private static func inner(_ directory: SourceDirectory, in system: any FileSystem) -> String? {
    directory.leftOut.first { system.kind("\(directory.path)/\($0)/\(configurationName)") == .file }
      .map { "\(directory.path)/\($0)" }
  }
}

/// A module that an adapter changes by a low-rank product.
public struct LoRAModule: Hashable, Sendable {
  /// Its path (`model.layers.0.self_attn.q_proj`).
  public var name: String
  /// r.
  public let rank: Int
  /// α.
  public let alpha: Double
  /// What B·A is multiplied with: α/r, or α/√r.
  public let scaling: Double
  /// Columns of A: input features, or the vocabulary of an embedding.
  public let inputFeatures: Int
  /// Rows of B: output features, or the width of an embedding.
  public let outputFeatures: Int
  /// Whether it is an embedding: the delta is scaling · (B·A)ᵀ.
  public let isEmbedding: Bool
  /// Whether a magnitude rescales each row of the sum (DoRA).
  public let isDoRA: Bool
  /// Whether B has a bias, which is scaled too.
  public let hasBias: Bool
  let a: SafetensorsTensor
  let b: SafetensorsTensor
  /// Bias and magnitude.
  let vectors: [SafetensorsTensor]
}
