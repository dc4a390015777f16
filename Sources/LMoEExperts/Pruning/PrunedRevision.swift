import LMoECore
public import LMoEFormat

/// An expert of a bundle with pruned factors: what becomes of its card, its tensors and its documents.
///
/// It is the same expert: id, name, modules and their scalings stay, and with them what gates know of it.
struct PrunedRevision {
  let card: JSON
  let entries: [NewEntry]
  private let replaced: Set<ByteKey>

  init(
    _ pruned: PrunedExpert, of expert: StoredExpert, base: BaseDescription?, clock: UInt64
  ) throws {
    guard var object = expert.card.object, let groups = ModuleGroup.groups(ofCard: expert.card) else {
      throw ExpertError(
        .invalidExpert, path: expert.path, found: "its card has no table of modules")
    }
    let entries = try pruned.modules.flatMap { try $0.entries() }
    self.entries = entries
    let replaced = Set(
      pruned.modules.filter { $0.factors != nil }.flatMap { [ByteKey($0.source.a), ByteKey($0.source.b)] })
    self.replaced = replaced
    let modules = Dictionary(
      pruned.modules.map { (ByteKey($0.name), $0) }, uniquingKeysWith: { first, _ in first })
    let new = Self.groups(groups, modules)
    object["modules"] = .array(new.map(\.json))
    let norms = new.flatMap(\.norms)
    let norm = groups.contains(where: \.numbers.isDoRA) ? nil : DeltaNorms.total(norms)
    let share = DeltaNorms.share(norm, of: new.flatMap(\.targets), in: base)
    object["norm"] = norm.map(Cards.rounded) ?? .null
    object["share"] = share.map(Cards.rounded) ?? .null
    let all =
      expert.manifest.tensors.filter { !replaced.contains(ByteKey($0.name)) }.map(\.type)
      + entries.map(\.type)
    object["parameters"] = .integer(all.reduce(0) { $0 + $1.elementCount })
    object["dtypes"] = all.dtypeCounts
    if !all.contains(where: { $0.geometry != nil }) { object["quantized"] = nil }
    object["files"] = .array(
      (expert.card["files"]?.array ?? []).filter {
        !($0["name"]?.string ?? "").hasSameBytes(as: PEFTAdapter.weights)
      })
    object["pruning"] = pruned.record(clock: clock)
    card = .object(object)
  }

  /// Whether an entry stays as it is.
  func keeps(_ entry: Entry) -> Bool {
    switch entry.class {
    case .tensor: !replaced.contains(ByteKey(entry.name))
    case .document: !ExpertRevision.dropped.contains(ByteKey(entry.name))
    }
  }

  /// The groups with the ranks that are now, modules with equal numbers together.
  private static func groups(_ old: [ModuleGroup], _ pruned: [ByteKey: PrunedModule]) -> [ModuleGroup] {
    var groups: [ModuleGroup] = []
    var places: [ModuleGroup.Numbers: Int] = [:]
    for group in old {
      for (target, norm) in zip(group.targets, group.norms) {
        let module = pruned[ByteKey(target)]
        let numbers = module.map {
          ModuleGroup.Numbers(group.numbers, rank: $0.rank, alpha: $0.alpha(from: group.numbers.alpha))
        }
        let own = numbers ?? group.numbers
        let newNorm = module.map { $0.factors == nil ? norm ?? $0.norm : $0.newNorm } ?? norm
        if let place = places[own] {
          groups[place].targets.append(target)
          groups[place].norms.append(newNorm)
        } else {
          places[own] = groups.count
          groups.append(ModuleGroup(own, targets: [target], norms: [newNorm]))
        }
      }
    }
    return groups
  }
}

extension PrunedExpert {
  /// How an expert was pruned, for its card (registry §5.8).
  func record(clock: UInt64) -> JSON {
    let method: [(String, JSON)] =
      switch rule {
      case .rank(let rank): [("method", "ranks"), ("rank", .integer(rank))]
      case .energy(let share): [("method", "ranks"), ("energy", .double(share))]
      case .entries(let density): [("method", "entries"), ("density", .double(density))]
      }
    return .object(
      method + [
        ("error", Cards.rounded(error)), ("made_ns", .integer(clock)), ("tool", .string(toolName)),
      ])
  }

  /// What the user should know.
  public func notes(of input: MergeInput) -> [String] {
    var notes: [String] = []
    if input.modules.values.contains(where: \.isDoRA) {
      notes.append(
        "its magnitudes (DoRA) stay as they are, and so do the lengths of the rows that they give; "
          + "what is lost is said of B·A alone")
    }
    if input.modules.values.contains(where: { $0.bias != nil }) {
      notes.append("the biases of B stay as they are")
    }
    if modules.contains(where: { $0.factors != nil && $0.source.isTransposedB }) {
      notes.append("its quantized factors are F32 now; \"quantize\" makes them small again")
    }
    if case .entries = rule {
      notes.append(
        "entries of the factors A and B were set to zero, each factor by itself, and not entries of B·A, "
          + "which would have no low rank; the zeros take little room in a bundle")
    }
    return notes
  }
}

extension BundleWriter {
  /// Puts pruned factors in the place of an expert's own; its id stays, and what gates know of it.
  ///
  /// - Parameters:
  ///   - expert: The expert as it was, in the bundle that this writer changes, or copies but for the expert.
  /// - Throws: `ExpertError` with `non-finite` for values that its type cannot hold, `invalid-expert`;
  ///   `FormatError`.
  public func prune(_ expert: StoredExpert, to pruned: PrunedExpert) throws {
    let revision = try PrunedRevision(
      pruned, of: expert, base: try? expert.bundle.baseDescription(), clock: options.clock())
    let bank: BankEntry
    if banks.contains(where: { $0.name.hasSameBytes(as: expert.bank.name) }) {
      bank = try reviseBank(
        expert.bank.name, card: revision.card, keeping: revision.keeps, adding: revision.entries)
    } else {
      let kept = expert.manifest.entries.filter(revision.keeps).map {
        NewEntry(copying: BankedEntry(bank: expert.bank.name, entry: $0), of: expert.bundle)
      }
      bank = try addBank(
        expert.bank.name, id: expert.bank.id, card: revision.card, entries: kept + revision.entries)
    }
    // What no reader would take is not written.
    _ = try ExpertFit(card: revision.card, manifest: try manifest(of: bank), path: expert.path)
  }
}
