import LMoECore
import LMoEExperts
import LMoEFormat

/// What an expert in a bundle changes, as its card says (registry §5.2).
struct ExpertRecord: Sendable {
  /// A whole tensor of the model that is replaced.
  struct Replacement: Sendable {
    let tensor: String
    let with: String
  }

  /// Rows of an embedding or head that are replaced.
  struct TokenRows: Sendable {
    let module: String
    let indices: [Int]
    let with: String
    let isTied: Bool
  }

  let name: String
  /// Its id, by which gates know it.
  let id: Bits128
  /// Where it is in the bundle; nil for one that is begun anew.
  let source: (bank: BankEntry, manifest: Manifest)?
  let prefix: String
  /// Rank, scaling and kind of each module.
  let modules: [ByteKey: ModuleGroup.Numbers]
  let replacements: [Replacement]
  let tokens: [TokenRows]
  /// The base's layers in the order in which they are stacked anew, and their windows; nil where they are not.
  let stack: (layers: [Int], windows: [Int?])?

  /// Reads the expert `name` and checks that it fits the base.
  ///
  /// - Throws: `RuntimeError` with `no-such-expert` or `invalid-expert`, `ExpertError`, `FormatError`.
  init(_ name: String, in bundle: Bundle, base: BaseDescription) throws {
    guard let bank = bundle.root.bank("expert/" + name) else {
      throw RuntimeError(
        .noSuchExpert, path: bundle.path, name: name,
        expected: closestName(to: name, among: bundle.banks(ofKind: "expert").map(\.shortName)),
        found: bundle.expertNames)
    }
    let path = bundle.path + "#" + name
    let card = try bundle.card(of: bank) ?? [:]
    let manifest = try bundle.manifest(of: bank)
    try ExpertFit(card: card, manifest: manifest, path: path).check { base.names.shape($0) }
    func invalid(_ what: String) -> RuntimeError {
      RuntimeError(.invalidExpert, path: bundle.path, name: name, found: what)
    }
    guard let groups = ModuleGroup.groups(ofCard: card) else {
      throw invalid("its table of modules is damaged")
    }
    var modules: [ByteKey: ModuleGroup.Numbers] = [:]
    for group in groups {
      guard group.numbers.scaling.isFinite else { throw invalid("a scaling is not finite") }
      for target in group.targets { modules[ByteKey(target)] = group.numbers }
    }
    (self.name, id, source, self.modules) = (name, bank.id, (bank, manifest), modules)
    prefix = card["prefix"]?.string ?? ""
    replacements = try (card["replaces"]?.array ?? []).compactMap { item in
      guard let tensor = item["tensor"]?.string, let with = item["with"]?.string else {
        throw invalid("its list of replaced tensors is damaged")
      }
      return item["same"]?.bool == true ? nil : Replacement(tensor: tensor, with: with)
    }
    tokens = try (card["tokens"]?.array ?? []).map { item in
      let indices = item["indices"]?.array ?? []
      guard let module = item["module"]?.string, let with = item["with"]?.string,
        let entry = manifest.tensor(with), entry.type.shape.count == 2,
        entry.type.shape[0] == indices.count,
        indices.allSatisfy({ (0..<base.model.vocabularySize).contains($0.int ?? -1) })
      else { throw invalid("its list of trained tokens is damaged") }
      return TokenRows(
        module: module, indices: indices.compactMap(\.int), with: with, isTied: item["tied"]?.bool ?? false)
    }
    stack = try Self.stack(card, layerCount: base.model.layerCount, invalid)
  }

  private static func stack(
    _ card: JSON, layerCount: Int, _ invalid: (String) -> RuntimeError
  ) throws -> (layers: [Int], windows: [Int?])? {
    guard let ranges = card["layer_replication"]?.array, !ranges.isEmpty else { return nil }
    var layers: [Int] = []
    for range in ranges {
      guard let start = range.array?.first?.int, let end = range.array?.last?.int, start >= 0, start < end,
        end <= layerCount, layers.count + end - start <= 10_000
      else { throw invalid("its stack of layers is damaged") }
      layers += Array(start..<end)
    }
    guard let windows = card["windows"]?.array, windows.count == layers.count,
      windows.allSatisfy({ $0.isNull || ($0.int ?? 0) > 0 })
    else { throw invalid("the windows of its layers are damaged") }
    return (layers, windows.map(\.int))
  }

  /// What keeps it from taking part in a mixture; nil if nothing does.
  ///
  /// Only deltas of linear layers can be weighed token by token.
  var obstacle: String? {
    if stack != nil { return "it stacks the layers of the base anew" }
    if let first = replacements.first { return "it replaces \(first.tensor) as a whole" }
    if let first = tokens.first { return "it has trained rows of \(first.module)" }
    let others = modules.filter { $0.value.isEmbedding || $0.value.hasBias }
    for (module, numbers) in others.sorted(by: { $0.key < $1.key }) {
      if numbers.isEmbedding { return "it adapts the embedding \(module.text)" }
      if numbers.hasBias { return "it adds a bias to \(module.text)" }
    }
    return nil
  }

  /// An expert that is begun anew and adapts linear layers only.
  init(name: String, id: Bits128, modules: [ByteKey: ModuleGroup.Numbers]) {
    (self.name, self.id, self.modules) = (name, id, modules)
    (source, prefix, replacements, tokens, stack) = (nil, "", [], [], nil)
  }
}
