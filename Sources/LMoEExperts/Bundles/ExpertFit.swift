public import LMoECore
public import LMoEFormat

/// Whether an expert that is in a bundle fits a base: its modules are weights of the base, and its tensors
/// have the shapes that these weights ask for.
public struct ExpertFit {
  private let manifest: Manifest
  private let prefix: String
  private let path: String
  /// Each module and its rank, as the card has it.
  private let ranks: [ByteKey: Int]
  private let layers: LayerReplication
  /// The highest token that the expert has a row for, by the name of its tensor of rows.
  private var lastTokens: [ByteKey: Int] = [:]

  /// Reads what the card of an expert says of its modules.
  ///
  /// - Parameters:
  ///   - card: The expert's card.
  ///   - manifest: Its tensors.
  ///   - path: Where it is, for errors.
  /// - Throws: `ExpertError` with `unsupported-adapter` for a kind other than LoRA, `invalid-expert`.
  public init(card: JSON, manifest: Manifest, path: String) throws {
    let type = card["type"]?.string ?? "missing"
    guard type == "lora" else {
      throw ExpertError(
        .unsupportedAdapter, path: path, name: "type", expected: "use a newer lmoe-tool", found: type)
    }
    guard let groups = card["modules"]?.array else {
      throw ExpertError(.invalidExpert, path: path, found: "its card has no table of modules")
    }
    var ranks: [ByteKey: Int] = [:]
    for group in groups {
      guard let rank = group["rank"]?.int, rank > 0, let targets = group["targets"]?.array else {
        throw ExpertError(.invalidExpert, path: path, found: "its table of modules lacks a rank or targets")
      }
      for target in targets {
        guard let module = target.string, ranks.updateValue(rank, forKey: ByteKey(module)) == nil else {
          throw ExpertError(
            .invalidExpert, path: path, found: "its table of modules names a module twice, or none")
        }
      }
    }
    (self.manifest, self.path, self.ranks) = (manifest, path, ranks)
    prefix = card["prefix"]?.string ?? ""
    layers = LayerReplication(card["layer_replication"])
    for rows in card["tokens"]?.array ?? [] {
      guard let name = rows["with"]?.string else { continue }
      lastTokens[ByteKey(name)] = rows["indices"]?.array?.compactMap(\.int).max()
    }
  }

  /// Compares modules and shapes.
  ///
  /// - Parameter shape: Gives the shape of a tensor of the base; nil if there is none.
  /// - Throws: `ExpertError` with `no-such-module`, `shape-mismatch`, `tensor-mismatch` or `invalid-expert`.
  public func check(againstBase shape: (String) -> [Int]?) throws {
    for (module, rank) in ranks.sorted(by: { $0.key < $1.key }) {
      let adapted = try weight(module.text, rank: rank)
      guard let base = shape(layers.original(module.text) + ".weight") else {
        throw ExpertError(.noSuchModule, path: path, name: module.text)
      }
      guard base == adapted else {
        throw ExpertError(
          .shapeMismatch, path: path, name: module.text, expected: "\(base)", found: "\(adapted)")
      }
    }
    for tensor in manifest.tensors { try check(tensor) { shape(layers.original($0)) } }
  }

  /// The shape of the weight that the factors of a module are for.
  private func weight(_ module: String, rank: Int) throws -> [Int] {
    // A is rank × in, B is out × rank, or quantized rank × out; of an embedding, A is rank × vocabulary and B
    // hidden × rank.
    if let factors = StoredFactors(of: module, prefix: prefix, in: manifest), factors.rank == rank {
      return [factors.outputs, factors.inputs]
    }
    for (suffixes, isEmbedding) in [(Self.linear, false), (Self.embedding, true)] {
      let factors = suffixes.compactMap { manifest.tensor(prefix + module + $0)?.type.shape }
      if factors.isEmpty { continue }
      guard isEmbedding, factors.count == 2, factors.allSatisfy({ $0.count == 2 }), factors[0][0] == rank,
        factors[1][1] == rank
      else {
        throw ExpertError(
          .invalidExpert, path: path, found: "the factors of \(module) are not two of rank \(rank)")
      }
      return [factors[0][1], factors[1][0]]
    }
    throw ExpertError(
      .invalidExpert, path: path, found: "its card lists \(module), and it has no factors for it")
  }

  private static let linear = [
    StoredFactors.nameOfA, StoredFactors.nameOfB, StoredFactors.nameOfTransposedB,
  ]
  private static let embedding = [".lora_embedding_A", ".lora_embedding_B"]
  /// One number for each output of a module.
  private static let vectors = [".lora_B.bias", ".lora_magnitude_vector"]
  /// Rows of an embedding.
  private static let rows = ".token_adapter.trainable_tokens_delta"

  /// Checks what the table does not say: tensors without a module there, vectors, rows and whole tensors.
  private func check(_ tensor: Entry, _ shape: (String) -> [Int]?) throws {
    guard let name = tensor.name.removing(prefix: prefix) else {
      throw ExpertError(
        .invalidExpert, path: path, found: "its tensor \(tensor.name) does not begin with \(prefix)")
    }
    let found = tensor.type.shape
    for suffix in Self.linear + Self.embedding + Self.vectors {
      guard let module = name.removing(suffix: suffix) else { continue }
      guard let rank = ranks[ByteKey(module)] else {
        throw ExpertError(
          .invalidExpert, path: path,
          found: "its card does not list \(module), and it has \(suffix.dropFirst())")
      }
      if Self.vectors.contains(suffix) {
        let outputs = try weight(module, rank: rank)
        let isEmbedding = manifest.tensor(prefix + module + Self.embedding[0]) != nil
        try require([isEmbedding ? outputs[1] : outputs[0]], name, found)
      }
      return
    }
    if let module = name.removing(suffix: Self.rows) {
      guard let base = shape(module + ".weight"), base.count == 2 else {
        throw ExpertError(.noSuchModule, path: path, name: module)
      }
      try require([found.first ?? 0, base[1]], name, found)
      let last = lastTokens[ByteKey(tensor.name)] ?? -1
      guard last < base[0] else {
        throw ExpertError(
          .tensorMismatch, path: path, name: name, expected: "tokens below \(base[0])", found: "token \(last)"
        )
      }
      return
    }
    // A whole tensor takes the place of the base's; one that the base does not have has nothing to fit.
    var replaced = name
    for leaf in [".weight", ".bias"] {
      if let module = name.removing(suffix: ".base_layer" + leaf) { replaced = module + leaf }
    }
    if let base = shape(replaced) { try require(base, name, found) }
  }

  private func require(_ expected: [Int], _ name: String, _ found: [Int]) throws {
    guard expected != found else { return }
    throw ExpertError(
      .tensorMismatch, path: path, name: name, expected: "the shape \(expected)", found: "the shape \(found)")
  }
}

/// Layers of a base in the order in which an expert stacks them anew: its modules count in the new stack.
private struct LayerReplication {
  private var layers: [Int] = []

  init(_ json: JSON?) {
    for range in json?.array ?? [] {
      // Far more layers than any model has would be an attack.
      guard let start = range.array?.first?.int, let end = range.array?.last?.int, start >= 0, start < end,
        end <= 1 << 16, layers.count < 1 << 16
      else { continue }
      layers += Array(start..<end)
    }
  }

  /// The base's name of a module or tensor of the stack; the name itself where nothing is replicated.
  func original(_ name: String) -> String {
    let head = "model.layers."
    guard !layers.isEmpty, let rest = name.removing(prefix: head) else { return name }
    let number = String(decoding: rest.utf8.prefix { $0 != UInt8(ascii: ".") }, as: UTF8.self)
    guard let index = Int(number), layers.indices.contains(index) else { return name }
    return head + String(layers[index])
      + String(decoding: rest.utf8.dropFirst(number.utf8.count), as: UTF8.self)
  }
}

extension String {
  /// What stands after `prefix`, compared by bytes; nil if it does not begin so.
  fileprivate func removing(prefix: String) -> String? {
    guard utf8.starts(with: prefix.utf8) else { return nil }
    return String(decoding: utf8.dropFirst(prefix.utf8.count), as: UTF8.self)
  }

  /// What stands before `suffix`, compared by bytes; nil if it does not end so.
  fileprivate func removing(suffix: String) -> String? {
    guard utf8.reversed().starts(with: suffix.utf8.reversed()) else { return nil }
    return String(decoding: utf8.dropLast(suffix.utf8.count), as: UTF8.self)
  }
}
