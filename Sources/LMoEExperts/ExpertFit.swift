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

  /// Reads the table of modules in the card of an expert.
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
  }

  /// Compares modules and shapes.
  ///
  /// - Parameter shape: Gives the shape of a tensor of the base; nil if there is none.
  /// - Throws: `ExpertError` with `no-such-module`, `shape-mismatch`, `tensor-mismatch` or `invalid-expert`.
  public func check(againstBase shape: (String) -> [Int]?) throws {
    for (module, rank) in ranks.sorted(by: { $0.key < $1.key }) {
      let adapted = try weight(module.text, rank: rank)
      guard let base = shape(module.text + ".weight") else {
        throw ExpertError(.noSuchModule, path: path, name: module.text)
      }
      guard base == adapted else {
        throw ExpertError(
          .shapeMismatch, path: path, name: module.text, expected: "\(base)", found: "\(adapted)")
      }
    }
    for tensor in manifest.tensors { try check(tensor, shape) }
  }

  /// The shape of the weight that the factors of a module are for.
  private func weight(_ module: String, rank: Int) throws -> [Int] {
    for (suffixes, isEmbedding) in [(Self.linear, false), (Self.embedding, true)] {
      let factors = suffixes.compactMap { manifest.tensor(prefix + module + $0)?.type.shape }
      if factors.isEmpty { continue }
      // A is rank × in, B is out × rank; of an embedding, A is rank × vocabulary and B hidden × rank.
      guard factors.count == 2, factors.allSatisfy({ $0.count == 2 }), factors[0][0] == rank,
        factors[1][1] == rank
      else {
        throw ExpertError(
          .invalidExpert, path: path, found: "the factors of \(module) are not two of rank \(rank)")
      }
      return isEmbedding ? [factors[0][1], factors[1][0]] : [factors[1][0], factors[0][1]]
    }
    throw ExpertError(
      .invalidExpert, path: path, found: "its card lists \(module), and it has no factors for it")
  }

  private static let linear = [".lora_A.weight", ".lora_B.weight"]
  private static let embedding = [".lora_embedding_A", ".lora_embedding_B"]
  /// One number for each output of a module.
  private static let vectors = [".lora_B.bias", ".lora_magnitude_vector", ".lora_magnitude_vector.weight"]

  /// Checks what the table does not say: tensors without a module there, biases, magnitudes, whole tensors.
  private func check(_ tensor: Entry, _ shape: (String) -> [Int]?) throws {
    guard let name = tensor.name.removing(prefix: prefix) else {
      throw ExpertError(
        .invalidExpert, path: path, found: "its tensor \(tensor.name) does not begin with \(prefix)")
    }
    for suffix in Self.linear + Self.embedding + Self.vectors {
      guard let module = name.removing(suffix: suffix) else { continue }
      guard ranks[ByteKey(module)] != nil else {
        throw ExpertError(
          .invalidExpert, path: path,
          found: "its card does not list \(module), and it has \(suffix.dropFirst())")
      }
      guard Self.vectors.contains(suffix), let base = shape(module + ".weight"), base.count == 2 else {
        return
      }
      let isEmbedding = manifest.tensor(prefix + module + Self.embedding[0]) != nil
      let needed = isEmbedding ? base[1] : base[0]
      try require(tensor.type.elementCount == needed, name, tensor.type.shape, [needed])
      return
    }
    // A whole tensor takes the place of the base's; one that the base does not have has nothing to fit.
    let replaced = name.removing(suffix: ".base_layer.weight").map { $0 + ".weight" }
    if let base = shape(replaced ?? name.removing(suffix: ".base_layer.bias").map { $0 + ".bias" } ?? name) {
      try require(base == tensor.type.shape, name, tensor.type.shape, base)
    }
  }

  private func require(_ holds: Bool, _ name: String, _ found: [Int], _ expected: [Int]) throws {
    guard !holds else { return }
    throw ExpertError(.tensorMismatch, path: path, name: name, expected: "\(expected)", found: "\(found)")
  }
}

extension String {
  /// What stands after `prefix`, compared by bytes; nil if it does not begin so.
  fileprivate func removing(prefix: String) -> String? {
    utf8.starts(with: prefix.utf8) ? String(decoding: utf8.dropFirst(prefix.utf8.count), as: UTF8.self) : nil
  }

  /// What stands before `suffix`, compared by bytes; nil if it does not end so.
  fileprivate func removing(suffix: String) -> String? {
    utf8.reversed().starts(with: suffix.utf8.reversed())
      ? String(decoding: utf8.dropLast(suffix.utf8.count), as: UTF8.self) : nil
  }
}
