import LMoECore
import LMoEFormat

/// Makes an `adapter_config.json` from an expert's card: what PEFT since 0.6 reads, with newer keys only where
/// the expert needs them.
///
/// rsLoRA is written as the α that gives the same scaling, since old versions do not know it; as itself only
/// where rounding leaves no α that does.
struct PEFTWriter {
  private let card: JSON
  private let groups: [ModuleGroup]
  /// Copies of the base's own tensors.
  private let copies: Set<ByteKey>
  /// Last components of module names that modules of different numbers share.
  private let sharedKinds: Set<String>
  /// Whether the scalings are those of rsLoRA and cannot be said otherwise.
  private let usesRSLoRA: Bool
  private let path: String
  private let expert: String

  /// Reads the card of an expert.
  ///
  /// - Throws: `ExpertError` with `not-exportable`.
  init(card: JSON?, path: String, expert: String) throws {
    guard let card, card["type"] == "lora", let groups = ModuleGroup.groups(ofCard: card) else {
      throw ExpertError(.notExportable, path: path, name: expert, found: "its card is not that of a LoRA")
    }
    guard Set(groups.map(\.numbers.isDoRA)).count <= 1 else {
      throw ExpertError(
        .notExportable, path: path, name: expert, found: "some of its modules are DoRA, which PEFT cannot say"
      )
    }
    (self.card, self.groups, self.path, self.expert) = (card, groups, path, expert)
    usesRSLoRA =
      groups.contains { Self.alpha($0.numbers) == nil }
      && groups.allSatisfy { $0.numbers.alpha / Double($0.numbers.rank).squareRoot() == $0.numbers.scaling }
    copies = Set(
      (card["replaces"]?.array ?? []).filter { $0["same"]?.bool == true }
        .compactMap { $0["with"]?.string.map { ByteKey($0) } })
    var kinds: [String: Set<ModuleGroup.Numbers>] = [:]
    for group in groups {
      for kind in Set(group.targets.map(Self.lastComponent)) {
        kinds[kind, default: []].insert(group.numbers)
      }
    }
    sharedKinds = Set(kinds.filter { $0.value.count > 1 }.keys)
  }

  private var modules: [String] { groups.flatMap(\.targets) }

  /// The configuration, as PEFT writes it: sorted keys, two spaces.
  func configuration(layers: Int?) throws -> String {
    let (rank, alpha) = try defaults()
    var object: [(String, JSON)] = [
      ("base_model_name_or_path", card["base"]?["name"] ?? .null),
      ("bias", .string(replacedBiases.isEmpty ? "none" : "all")),
      ("fan_in_fan_out", false), ("inference_mode", true), ("init_lora_weights", true),
      ("lora_alpha", .double(alpha)), ("lora_dropout", 0), ("modules_to_save", savedModules),
      ("peft_type", "LORA"), ("r", .integer(rank)), ("target_modules", targets(layers: layers)),
      ("task_type", "CAUSAL_LM"),
    ]
    let patterns = try self.patterns(rank: rank, alpha: alpha)
    object.append(("rank_pattern", .object(patterns.ranks)))
    object.append(("alpha_pattern", .object(patterns.alphas)))
    if usesRSLoRA { object.append(("use_rslora", true)) }
    if groups.contains(where: \.numbers.isDoRA) { object.append(("use_dora", true)) }
    if groups.contains(where: \.numbers.hasBias) { object.append(("lora_bias", true)) }
    if let stack = card["layer_replication"] { object.append(("layer_replication", stack)) }
    let rows = card["tokens"]?.array ?? []
    if !rows.isEmpty {
      object.append(
        (
          "trainable_token_indices",
          .object(
            rows.compactMap { row in
              row["module"]?.string.flatMap { module in
                row["indices"].map { (Self.lastComponent(module), $0) }
              }
            })
        ))
    }
    return JSON.object(object.sorted { $0.0 < $1.0 }).serialized(pretty: true)
  }

  /// Rank and α that need no pattern: those of the head, which old versions cannot name in one, or else of most
  /// modules.
  private func defaults() throws -> (rank: Int, alpha: Double) {
    let head = groups.first { $0.targets.contains("lm_head") }
    guard let group = head ?? groups.max(by: { $0.targets.count < $1.targets.count }) else { return (8, 8) }
    return (group.numbers.rank, try alpha(group.numbers))
  }

  /// The α of which α/r is exactly the scaling; nil if there is none.
  private static func alpha(_ numbers: ModuleGroup.Numbers) -> Double? {
    let rank = Double(numbers.rank)
    let guess = numbers.scaling * rank
    return [numbers.alpha, guess, guess.nextUp, guess.nextDown].first { $0 / rank == numbers.scaling }
  }

  /// The α to write.
  private func alpha(_ numbers: ModuleGroup.Numbers) throws -> Double {
    if usesRSLoRA { return numbers.alpha }
    if let alpha = Self.alpha(numbers) { return alpha }
    throw ExpertError(
      .notExportable, path: path, name: expert, found: "no alpha gives the scaling \(numbers.scaling)")
  }

  private func patterns(
    rank: Int, alpha: Double
  ) throws -> (ranks: [(String, JSON)], alphas: [(String, JSON)]) {
    var result: (ranks: [(String, JSON)], alphas: [(String, JSON)]) = ([], [])
    for group in groups {
      let own = try self.alpha(group.numbers)
      guard group.numbers.rank != rank || own != alpha else { continue }
      for key in keys(of: group) {
        if group.numbers.rank != rank { result.ranks.append((key, .integer(group.numbers.rank))) }
        if own != alpha { result.alphas.append((key, .double(own))) }
      }
    }
    return (result.ranks.sorted { $0.0 < $1.0 }, result.alphas.sorted { $0.0 < $1.0 })
  }

  /// What names the modules of a group and no others: last components where every such module is in it, or
  /// paths without their first component, which is what PEFT 0.6 can match.
  private func keys(of group: ModuleGroup) -> [String] {
    var keys: [String] = []
    for (kind, members) in Dictionary(grouping: group.targets, by: Self.lastComponent).sorted(by: {
      $0.key < $1.key
    }) {
      if !sharedKinds.contains(kind) {
        keys.append(kind)
      } else {
        keys += members.map { $0.hasPrefix("model.") ? String($0.dropFirst(6)) : $0 }
      }
    }
    return keys
  }

  /// Last components where every layer has them, full paths otherwise.
  private func targets(layers: Int?) -> JSON {
    let kinds = Dictionary(grouping: modules, by: Self.lastComponent)
    let areComplete = kinds.allSatisfy { kind, members in
      ["embed_tokens", "lm_head"].contains(kind) || members.count == layers
    }
    let names = areComplete ? kinds.keys.sorted() : modules.sorted()
    return .array(names.map(JSON.string))
  }

  /// Whole tensors that take the place of the base's, and the expert's own.
  private var replaced: [(tensor: String, with: String)] {
    (card["replaces"]?.array ?? []).filter { $0["same"]?.bool != true }.compactMap {
      guard let tensor = $0["tensor"]?.string, let with = $0["with"]?.string else { return nil }
      return (tensor, with)
    }
  }

  private var replacedBiases: [String] { replaced.map(\.tensor).filter { $0.hasSuffix(".bias") } }

  /// Modules with a wrapper of their own: not those that are adapted, nor a tensor that a tied model has twice,
  /// which PEFT loads where the base has it.
  private var savedModules: JSON {
    let uses = Dictionary(replaced.map { (ByteKey($0.with), 1) }, uniquingKeysWith: +)
    let names = replaced.filter { item in
      item.tensor.hasSuffix(".weight") && !item.with.contains(".base_layer.") && uses[ByteKey(item.with)] == 1
    }.map { String($0.tensor.dropLast(7)) }
    return names.isEmpty ? .null : .array(names.sorted().map(JSON.string))
  }

  /// Whether a tensor of the bank belongs into the file: not a copy of the base's own, nor what a wrapper kept.
  func isWritten(_ name: String) -> Bool {
    guard let parsed = PEFTTensorName(name) else { return true }
    if case .unused = parsed.role { return false }
    return parsed.canonical(module: parsed.module).hasSameBytes(as: name) && !copies.contains(ByteKey(name))
  }

  /// Whether the modules differ in rank or scaling, which some readers pass over.
  var usesPatterns: Bool { Set(groups.map { [Double($0.numbers.rank), $0.numbers.scaling] }).count > 1 }

  private static func lastComponent(_ module: String) -> String {
    module.split(separator: ".").last.map(String.init) ?? module
  }
}
