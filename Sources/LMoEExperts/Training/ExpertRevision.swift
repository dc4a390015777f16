import LMoECore
import LMoEFormat

/// An expert of a bundle with new values: what becomes of its card, its tensors and its documents.
///
/// It is the same expert: id, name, modules and their numbers stay, as do the tensors that were not trained
/// and the files that say nothing of the values.
struct ExpertRevision {
  let card: JSON
  let entries: [NewEntry]
  private let replaced: Set<ByteKey>

  /// What an export of the original files needs and new values would make a lie: it is written anew.
  static let dropped: Set<ByteKey> = [
    ByteKey("safetensors/" + PEFTAdapter.weights), ByteKey("names/" + PEFTAdapter.weights),
    ByteKey("files/" + PEFTAdapter.configurationName),
  ]

  /// Brings an expert and new values of its tensors together.
  ///
  /// - Parameters:
  ///   - bank: The expert.
  ///   - bundle: Where it is.
  ///   - tensors: The new values.
  ///   - record: How they were trained.
  ///   - base: The base; nil where the bundle has none that this tool knows.
  /// - Throws: `ExpertError` with `invalid-expert`, `invalid-training` or `non-finite`, `FormatError`.
  init(
    _ bank: BankEntry, in bundle: Bundle, tensors: [FloatTensor], record: JSON, base: BaseDescription?,
    on pool: WorkerPool
  ) throws {
    let path = bundle.path + "#" + bank.shortName
    let manifest = try bundle.manifest(of: bank)
    guard let card = try bundle.card(of: bank), card["type"] == "lora", var object = card.object,
      let groups = ModuleGroup.groups(ofCard: card)
    else { throw ExpertError(.invalidExpert, path: path, found: "its card has no table of modules") }
    let prefix = card["prefix"]?.string ?? ""
    let trainable = Set(
      groups.flatMap(\.targets).flatMap { target in
        Self.suffixes.map { ByteKey(prefix + target + $0) }
      })
    var values: [ByteKey: [Float]] = [:]
    var leaving: Set<ByteKey> = []
    for tensor in tensors {
      let key = ByteKey(tensor.name)
      func invalid(_ found: String) -> ExpertError {
        ExpertError(.invalidTraining, path: path, name: tensor.name, found: found)
      }
      // A quantized B is stored as its transpose, which the new values take the place of.
      let transposed = StoredFactors.transposedName(of: tensor.name).flatMap { manifest.tensor($0) }
      guard let stored = manifest.tensor(tensor.name) ?? transposed, trainable.contains(key) else {
        throw invalid("a tensor that the expert does not have, or not as part of a module")
      }
      let isTransposed = !stored.name.hasSameBytes(as: tensor.name)
      let shape = isTransposed ? stored.type.shape.reversed() : stored.type.shape
      guard shape == tensor.shape else {
        throw invalid("the shape \(tensor.shape), and the expert's has \(shape)")
      }
      leaving.insert(ByteKey(stored.name))
      guard values[key] == nil else { throw invalid("two sets of values") }
      values[key] = try tensor.finiteFloats(path: path)
    }
    replaced = leaving
    entries = tensors.compactMap(\.entry)
    let norms = try Self.norms(groups, prefix: prefix, values, bank, manifest, in: bundle, on: pool)
    object["modules"] = .array(
      zip(card["modules"]?.array ?? [], norms).map { group, norms in
        var group = group.object ?? JSONObject()
        group["norms"] = .array(norms.map { $0.map(Cards.rounded) ?? .null })
        return .object(group)
      })
    let isDoRA = groups.contains(where: \.numbers.isDoRA)
    let norm = isDoRA ? nil : DeltaNorms.total(norms.flatMap(\.self))
    let isStacked = card["layer_replication"] != nil
    let share = DeltaNorms.share(norm, of: groups.flatMap(\.targets), in: isStacked ? nil : base)
    object["norm"] = norm.map(Cards.rounded) ?? .null
    object["share"] = share.map(Cards.rounded) ?? .null
    let replaced = replaced
    let types = manifest.tensors.map { entry in
      guard replaced.contains(ByteKey(entry.name)) else { return entry.type }
      return TensorType(dtype: .f32, shape: entry.type.shape.map { UInt64($0) }) ?? entry.type
    }
    object["dtypes"] = types.dtypeCounts
    if !types.contains(where: { $0.geometry != nil }) { object["quantized"] = nil }
    object["files"] = .array(
      (card["files"]?.array ?? []).filter {
        !($0["name"]?.string ?? "").hasSameBytes(as: PEFTAdapter.weights)
      })
    object["training"] = record
    self.card = .object(object)
  }

  /// Whether an entry stays as it is.
  func keeps(_ entry: Entry) -> Bool {
    switch entry.class {
    case .tensor: !replaced.contains(ByteKey(entry.name))
    case .document: !Self.dropped.contains(ByteKey(entry.name))
    }
  }

  /// The ends of the names of what a module has.
  private static let suffixes = [
    ".lora_A.weight", ".lora_B.weight", ".lora_embedding_A", ".lora_embedding_B", ".lora_B.bias",
    ".lora_magnitude_vector",
  ]

  /// The norms of all modules by group: those of the trained ones measured anew.
  private static func norms(
    _ groups: [ModuleGroup], prefix: String, _ values: [ByteKey: [Float]], _ bank: BankEntry,
    _ manifest: Manifest, in bundle: Bundle, on pool: WorkerPool
  ) throws -> [[Double?]] {
    var norms = groups.map(\.norms)
    var places: [(group: Int, module: Int)] = []
    var factors: [DeltaNorms.Factors] = []
    for (number, group) in groups.enumerated() {
      let ends =
        group.numbers.isEmbedding
        ? [".lora_embedding_A", ".lora_embedding_B"] : [".lora_A.weight", ".lora_B.weight"]
      for (place, target) in group.targets.enumerated() {
        let names = ends.map { prefix + target + $0 }
        guard names.contains(where: { values[ByteKey($0)] != nil }) else { continue }
        let pair = try names.map { name -> [Float] in
          if let own = values[ByteKey(name)] { return own }
          let stored = StoredFactors(of: target, prefix: prefix, in: manifest)
          let isB = stored != nil && name.hasSuffix(ends[1])
          guard let entry = manifest.tensor(name) ?? (isB ? stored?.b : nil) else { return [] }
          let floats = try bundle.floats(of: [BankedEntry(bank: bank.name, entry: entry)], on: pool)[0]
          return isB ? stored?.plainB(floats) ?? floats : floats
        }
        places.append((number, place))
        factors.append(DeltaNorms.Factors(numbers: group.numbers, a: pair[0], b: pair[1]))
      }
    }
    for (place, norm) in zip(places, DeltaNorms.measure(factors, on: pool)) {
      norms[place.group][place.module] = norm
    }
    return norms
  }
}
