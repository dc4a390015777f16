import LMoECore
import LMoEFormat

/// An adapter resolved on a base: every tensor placed on a module of the model, under the one name it has in a
/// bank.
public struct LoRAExpert: Sendable {
  /// A whole tensor of the base that the expert replaces.
  public struct Replacement: Hashable, Sendable {
    /// The model's tensor (`model.norm.weight`); for a tied head, `lm_head.weight` unties it.
    public let tensor: String
    /// The expert's tensor.
    public let with: String
    /// Whether both hold the same values, so that nothing is replaced.
    public internal(set) var isSame: Bool
  }

  /// Rows of an embedding that the expert replaces.
  public struct TokenRows: Hashable, Sendable {
    /// The embedding.
    public let module: String
    /// The tokens.
    public let indices: [Int]
    /// The expert's tensor: one row a token.
    public let with: String
    /// Whether the tied head has the same rows.
    public let isTied: Bool
  }

  /// A tensor under its name in the bank.
  struct Placed: Sendable {
    let name: String
    let tensor: SafetensorsTensor
  }

  /// Where it comes from.
  public let adapter: PEFTAdapter
  /// The modules under the model's names, sorted.
  public let modules: [LoRAModule]
  /// Whole tensors of the base that it replaces.
  public internal(set) var replacements: [Replacement]
  /// Rows of embeddings that it replaces.
  public let tokens: [TokenRows]
  /// How far each layer of the new stack looks back; empty where layers are not replicated.
  public let stackedWindows: [Int?]
  /// What the user should know.
  public let notes: [String]
  let tensors: [Placed]

  /// Layers of the base in the order in which they are stacked anew; empty if they are not.
  public var layerReplication: [Range<Int>] { adapter.configuration.layerReplication }

  /// Places `adapter` on `base`.
  ///
  /// - Throws: `ExpertError` that names the module or tensor that the base does not have, that has another
  ///   shape, or that is missing.
  public init(_ adapter: PEFTAdapter, on base: BaseDescription) throws {
    var placement = ExpertPlacement(adapter, base)
    modules = try adapter.modules.map { try placement.place($0) }.sorted {
      ByteKey($0.name) < ByteKey($1.name)
    }
    replacements = try adapter.wholes.flatMap { try placement.place($0) }
    tokens = try adapter.tokens.map { try placement.place($0) }
    placement.keep(adapter.unused)
    try placement.checkCompleteness()
    try placement.checkSavedModules()
    stackedWindows = try placement.stackedWindows()
    notes = placement.notes
    tensors = placement.tensors
    self.adapter = adapter
  }

  /// Names in the file by which a tensor goes under another name in the bank.
  var renamed: [(file: String, bank: String)] {
    tensors.compactMap { $0.name.hasSameBytes(as: $0.tensor.name) ? nil : ($0.tensor.name, $0.name) }
  }
}
