import LMoECore
import LMoEFormat

/// The low-rank factors of an expert in a bundle, for writing them in other formats.
struct AdapterFactors {
  /// A module, and where its factors are.
  struct Module {
    let name: String
    let numbers: ModuleGroup.Numbers
    let a: Factor
    let b: Factor
    let magnitude: Factor?
  }

  /// A factor or a magnitude.
  struct Factor {
    let entry: Entry
    /// Whether the rows are stored as columns, as quantized factors B are.
    let isTransposed: Bool
    /// As it is used.
    var shape: [Int] { isTransposed ? entry.type.shape.reversed() : entry.type.shape }
  }

  let bundle: Bundle
  let bank: BankEntry
  let card: JSON
  /// The modules, sorted by name.
  let modules: [Module]

  /// Finds the factors of the expert `name`.
  ///
  /// - Throws: `no-such-bank`, or `ExpertError` with `not-exportable` if its card is not that of a LoRA.
  init(_ name: String, of bundle: Bundle) throws {
    self.bundle = bundle
    let bank = try bundle.bank("expert/" + name)
    self.bank = bank
    let card = try bundle.card(of: bank) ?? [:]
    self.card = card
    func refused(_ what: String) -> ExpertError {
      ExpertError(.notExportable, path: bundle.path, name: name, found: what)
    }
    guard card["type"] == "lora", let groups = ModuleGroup.groups(ofCard: card) else {
      throw refused("its card is not that of a LoRA")
    }
    let manifest = try bundle.manifest(of: bank)
    let prefix = card["prefix"]?.string ?? PEFTTensorName.prefix
    func factor(_ module: String, _ names: [String]) throws -> Factor {
      for name in names {
        if let entry = manifest.tensor(prefix + module + "." + name) {
          return Factor(entry: entry, isTransposed: name.hasSuffix(".transposed"))
        }
      }
      throw refused("it has no tensor \(prefix)\(module).\(names[0])")
    }
    modules = try groups.flatMap { group in
      try group.targets.map { module in
        let isEmbedding = group.numbers.isEmbedding
        return Module(
          name: module, numbers: group.numbers,
          a: try factor(module, [isEmbedding ? "lora_embedding_A" : "lora_A.weight"]),
          b: try factor(module, isEmbedding ? ["lora_embedding_B"] : ["lora_B.weight", "lora_B.transposed"]),
          magnitude: group.numbers.isDoRA ? try factor(module, ["lora_magnitude_vector"]) : nil)
      }
    }.sorted { ByteKey($0.name) < ByteKey($1.name) }
  }

  /// An error that names the expert.
  func refused(_ what: String) -> ExpertError {
    ExpertError(.notExportable, path: bundle.path, name: bank.shortName, found: what)
  }

  /// Refuses what is not a plain sum of products: `format` says where it shall go.
  func requirePlain(for format: String, allowsDoRA: Bool = false) throws {
    let remedy = "; merge it into the base with \"lmoe-tool merge --into-base\""
    func require(_ holds: Bool, _ what: String) throws {
      if !holds { throw refused("\(what), which \(format) cannot hold\(remedy)") }
    }
    try require(allowsDoRA || !modules.contains(where: \.numbers.isDoRA), "it has magnitudes (DoRA)")
    try require(!modules.contains(where: \.numbers.hasBias), "it has biases on B (lora_bias)")
    try require(!modules.contains(where: \.numbers.isEmbedding), "it changes the embedding")
    let replaced = (card["replaces"]?.array ?? []).filter { $0["same"]?.bool != true }
    try require(replaced.isEmpty, "it replaces whole tensors (modules_to_save, bias)")
    try require((card["tokens"]?.array ?? []).isEmpty, "it replaces rows of tokens")
    try require(card["layer_replication"] == nil, "it stacks layers anew (layer_replication)")
  }

  /// A factor on its way into a file, perhaps times a number, perhaps with its rows in another order.
  func entry(
    _ factor: Factor, named name: String, as dtype: DType, times scale: Double, order: HeadOrder?,
    transposed: Bool = false
  ) throws -> NewEntry {
    let shape = transposed ? factor.shape.reversed() : factor.shape
    guard let type = TensorType(dtype: dtype, shape: shape.map { UInt64($0) }) else {
      throw refused("the tensor \(factor.entry.name) is too large")
    }
    var source: any ByteSource
    if factor.isTransposed != transposed {
      source = try self.transposed(factor, as: dtype, times: scale)
    } else if factor.entry.type.dtype == dtype, scale == 1 {
      source = bundle.source(of: factor.entry)
    } else {
      let stored = bundle.source(of: factor.entry)
      guard let cast = ScaledSource(stored, factor.entry.type, times: scale, as: dtype) else {
        throw refused(
          "the tensor \(factor.entry.name) is \(factor.entry.type.dtypeName), which are no numbers")
      }
      source = cast
    }
    if let order { source = ReorderedSource(source, type, order) }
    return NewEntry(tensor: name, type: type, source: source)
  }

  /// The values with rows and columns exchanged, in memory.
  private func transposed(
    _ factor: Factor, as dtype: DType, times scale: Double
  ) throws -> any ByteSource {
    let values = try bundle.floats(of: [BankedEntry(bank: bank.name, entry: factor.entry)])[0]
    let (rows, columns) = (factor.entry.type.shape[0], factor.entry.type.shape[1])
    let floats = LMoEExperts.transposed(values, rows: rows, columns: columns)
    let entry = try GGUFExport.vector(factor.entry.name, floats)
    guard let cast = ScaledSource(entry.source, entry.type, times: scale, as: dtype) else {
      throw refused("the tensor \(factor.entry.name) cannot be written as \(dtype.name)")
    }
    return cast
  }
}
