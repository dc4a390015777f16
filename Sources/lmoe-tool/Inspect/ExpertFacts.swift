import LMoECore
import LMoEExperts
import LMoEFormat

/// An expert as its card tells it.
struct ExpertFacts {
  let bank: BankEntry
  let card: JSON?
  let groups: [ModuleGroup]

  init(_ bank: BankEntry, card: JSON?) {
    self.bank = bank
    self.card = card
    groups = ModuleGroup.groups(ofCard: card) ?? []
  }

  var type: String { card?["type"]?.string ?? "unknown" }
  var ranks: [Int] { Set(groups.map(\.numbers.rank)).sorted() }
  var alphas: [Double] { Set(groups.map(\.numbers.alpha)).sorted() }
  var scalings: [Double] { Set(groups.map(\.numbers.scaling)).sorted() }
  var targets: [String] {
    targetSummary(groups.flatMap(\.targets)).split(separator: " ").map(String.init)
  }
  var parameters: Int { card?["parameters"]?.int ?? 0 }
  var norm: Double? { card?["norm"]?.double }
  var share: Double? { card?["share"]?.double }
  var replaces: [String] {
    (card?["replaces"]?.array ?? []).filter { $0["same"]?.bool != true }.compactMap { $0["tensor"]?.string }
  }
  private var replacedModules: [String] {
    replaces.map { name in
      if name.hasSuffix(".weight") { return String(name.dropLast(7)) }
      return name.hasSuffix(".bias") ? name.dropLast(5) + " bias" : name
    }
  }
  var tokenCount: Int { (card?["tokens"]?.array ?? []).reduce(0) { $0 + ($1["indices"]?.array?.count ?? 0) } }

  /// `LoRA` or `DoRA`.
  var kind: String {
    guard type == "lora" else { return type }
    return groups.contains(where: \.numbers.isDoRA) ? "DoRA" : "LoRA"
  }

  /// What it has besides products of two factors.
  var extras: [String] {
    var result: [String] = []
    if groups.contains(where: \.numbers.hasBias) { result.append("a bias on every B") }
    if !replaces.isEmpty {
      result.append("\(replaces.count) whole tensors: \(targetSummary(replacedModules))")
    }
    for rows in card?["tokens"]?.array ?? [] {
      let module = targetSummary([rows["module"]?.string ?? "?"])
      result.append("\(rows["indices"]?.array?.count ?? 0) rows of \(module)")
    }
    if let stack = card?["layer_replication"] { result.append("layers restacked as \(stack.serialized())") }
    return result
  }

  /// How it was trained in this bundle, in a few words; nil if it was not.
  var training: String? {
    guard let record = card?["training"], record.object != nil else { return nil }
    var parts: [String] = []
    if let steps = record["step"]?.int { parts.append("\(grouped(steps)) step\(steps == 1 ? "" : "s")") }
    if let tokens = record["tokens"]?.int { parts.append("\(grouped(tokens)) tokens") }
    if let loss = record["loss"]?.double { parts.append("loss \(significant(loss))") }
    if let time = record["made_ns"]?.number?.integer(UInt64.self) {
      parts.append(formatted(nanoseconds: time).prefix(16) + " UTC")
    }
    return parts.isEmpty ? "yes" : parts.joined(separator: ", ")
  }

  var json: JSON {
    [
      "name": .string(bank.shortName), "id": .string(bank.id.description), "kind": .string(type),
      "ranks": .array(ranks.map { .integer($0) }), "alpha": .array(alphas.map(JSON.double)),
      "targets": .array(targets.map(JSON.string)), "parameters": .integer(parameters),
      "stored_bytes": .integer(bank.storedBytes), "raw_bytes": .integer(bank.logicalBytes),
      "content_id": .string(bank.contentID.description), "base": card?["base"] ?? .null,
      "norm": card?["norm"] ?? .null, "share": card?["share"] ?? .null,
      "training": card?["training"] ?? .null,
    ]
  }

  static func table(_ experts: [ExpertFacts]) -> Table {
    var table = Table([
      ("expert", .left), ("kind", .left), ("rank", .right), ("scale", .right), ("targets", .left),
      ("params", .right), ("stored", .right), ("norm", .right), ("share", .right),
    ])
    for expert in experts {
      table.add([
        expert.bank.shortName, expert.kind, span(expert.ranks.map { "\($0)" }),
        span(expert.scalings.map { Int(exactly: $0).map(grouped) ?? significant($0) }), expert.targetText,
        formatted(count: expert.parameters),
        formatted(bytes: expert.bank.storedBytes), expert.norm.map(significant) ?? "–",
        expert.share.map { significant(100 * $0) + " %" } ?? "–",
      ])
    }
    return table
  }

  /// One value, or the smallest and the largest.
  private static func span(_ values: [String]) -> String {
    guard let first = values.first, let last = values.last else { return "–" }
    return values.count == 1 ? first : "\(first)–\(last)"
  }

  private static let attention = ["q_proj", "k_proj", "v_proj", "o_proj"]
  private static let feedForward = ["gate_proj", "up_proj", "down_proj"]

  /// What it changes, in a few letters: `attn mlp`, `q v +norm`.
  var targetText: String {
    var rest = targets
    var words: [String] = []
    for (name, group) in [("attn", Self.attention), ("mlp", Self.feedForward)] {
      if group.allSatisfy(rest.contains) {
        words.append(name)
      } else {
        words += group.filter(rest.contains).map { String($0.dropLast(5)) }
      }
      rest.removeAll(where: group.contains)
    }
    words += rest.map(Self.short)
    var extras = Set(replaces.map { "+" + Self.short($0) }).sorted()
    if tokenCount > 0 { extras.append("+\(tokenCount) tokens") }
    if groups.contains(where: \.numbers.hasBias) { extras.append("+lora_bias") }
    words += extras
    return words.isEmpty ? "–" : words.joined(separator: " ")
  }

  /// A module or tensor of the model in one word.
  private static func short(_ name: String) -> String {
    if name.hasSuffix(".bias") { return "bias" }
    if name.contains("norm") { return "norm" }
    if name.contains("embed_tokens") { return "embed" }
    if name.contains("lm_head") { return "head" }
    let module = targetSummary([name.hasSuffix(".weight") ? String(name.dropLast(7)) : name])
    return module.hasSuffix("_proj") ? String(module.dropLast(5)) : module
  }
}
