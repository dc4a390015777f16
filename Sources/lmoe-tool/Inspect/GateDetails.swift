import LMoECore
import LMoEExperts
import LMoEFormat

/// A gate, as `inspect` and `gate show` have it.
struct GateDetails {
  let bank: BankEntry
  let card: JSON?
  /// What it is; nil if it cannot be used.
  let gate: Gate?
  /// Whom it knows; nil if that is not asked, or it cannot be used.
  let status: GateStatus?
  /// How long its rows are; nil if that is not asked, or it cannot be used.
  let norms: GateNorms?
  /// Why it cannot be used.
  let problem: String?

  init(_ stored: StoredGate, norms: GateNorms? = nil) throws {
    (bank, card, gate) = (stored.bank, stored.card, stored.gate)
    status = try stored.status
    self.norms = norms
    problem = nil
  }

  /// Opens a gate; one that is not valid can be looked at all the same.
  ///
  /// - Parameter readsRows: Whether the values are wanted too.
  init(_ bank: BankEntry, in bundle: Bundle, readsRows: Bool = false) throws {
    do {
      let stored = try bundle.gate(named: bank.shortName)
      self = try GateDetails(stored, norms: readsRows ? GateNorms(stored) : nil)
    } catch let error as ExpertError {
      self.bank = bank
      card = try bundle.card(of: bank)
      (gate, status, norms, problem) = (nil, nil, nil, error.description)
    }
  }

  /// One line for the first screen.
  var summary: String {
    guard let gate else { return "\(bank.shortName): cannot be used; see --gate".printable }
    let unaware = status?.unaware ?? []
    let rest = unaware.isEmpty ? "" : "; unaware of \(unaware.joined(separator: ", "))"
    return "\(bank.shortName): \(gate.summary(routed: routed))\(rest)".printable
  }

  /// How many it routes of those that are there; nil for all experts.
  private var routed: Int? {
    guard let gate, gate.members != .all else { return nil }
    return status?.experts.count { $0.standing == .aware || $0.standing == .partly }
  }

  /// What it says of each expert, and of itself.
  var lines: [String] {
    let name = bank.shortName.printable.cut(to: Terminal.width - 42)
    let title = "\(Terminal.bold("gate " + name))  id \(bank.id)"
    guard let gate, let status else { return [title] + problemLines }
    var lines = [title, labelled("decides", gate.decision)]
    if gate.isLearned { lines.append(labelled("score", gate.scoring)) }
    lines.append(labelled("weights", gate.weighing))
    if let made = Self.made(card?["provenance"]) { lines.append(labelled("made", made)) }
    lines += [""] + table(gate, status).lines
    let hints = hints(gate, status)
    return lines + (hints.isEmpty ? [] : [""] + hints.map { "  " + $0 })
  }

  private func labelled(_ label: String, _ text: String) -> String {
    "  \(label.padded(to: 8)) \(text.printable)".cut(to: Terminal.width)
  }

  /// The reason, and what stands on the card.
  private var problemLines: [String] {
    let reason = wrapped("cannot be used: " + (problem ?? "unknown"), to: Terminal.width - 2)
    let fields = (card?.object?.members ?? []).map { member in
      let text = member.value.string ?? member.value.serialized()
      return "\(member.key.printable.cut(to: 20).padded(to: 12)) \(text.printable)"
    }
    return (reason + fields).map { "  " + $0.cut(to: Terminal.width - 2) }
  }

  private static func made(_ provenance: JSON?) -> String? {
    guard let initialiser = provenance?["initialiser"]?.string else { return nil }
    var parts = [initialiser]
    if let seed = provenance?["seed"]?.number { parts.append("seed \(seed.text)") }
    if let texts = provenance?["texts"]?.array, !texts.isEmpty {
      parts.append("\(texts.count) text\(texts.count == 1 ? "" : "s")")
    }
    if provenance?["trained"] != nil { parts.append("trained since") }
    if let time = provenance?["made_ns"]?.number?.integer(UInt64.self) {
      parts.append(formatted(nanoseconds: time).prefix(16) + " UTC")
    }
    return parts.joined(separator: ", ")
  }

  private func table(_ gate: Gate, _ status: GateStatus) -> Table {
    var columns: [(title: String, alignment: Table.Alignment)] = [("expert", .left), ("part", .left)]
    let isUniform = gate.score == .constant(.uniform)
    // Elsewhere it depends on who acts there.
    let isOne = isUniform && gate.scope == .global
    if gate.isLearned {
      columns += [("rows", .right), ("norm", .right)]
      if gate.scope != .global { columns.append(("first layer … last", .left)) }
    } else {
      columns.append((gate.normaliser == .none || isUniform ? "weight" : "score", .right))
    }
    let largest = status.experts.compactMap { norms?.byLayer($0.id).compactMap(\.self).max() }.max() ?? 0
    let routed = status.experts.count { $0.standing == .aware }
    var table = Table(columns)
    // By name, for people; those without one last.
    let sorted =
      status.experts.filter { $0.id == Gate.nullExpert }
      + status.experts.filter { $0.id != Gate.nullExpert && $0.name != nil }
      .sorted { ByteKey($0.name ?? "") < ByteKey($1.name ?? "") }
      + status.experts.filter { $0.id != Gate.nullExpert && $0.name == nil }
    for expert in sorted {
      var cells = [Self.name(of: expert), Self.part(of: expert)]
      if gate.isLearned {
        let of = expert.placeCount.map { $0 == expert.rowCount ? "" : " of \($0)" } ?? ""
        cells += [
          expert.standing == .always ? "–" : "\(expert.rowCount)\(of)",
          // Seven digits: 0.99999999 is 1.
          norms?.typical(expert.id).map { significant(Double(Float($0))) } ?? "–",
        ]
        if gate.scope != .global {
          cells.append(sparkline(norms?.byLayer(expert.id) ?? [], largest: largest))
        }
      } else {
        cells.append(
          Self.weight(of: expert, isUniform ? (isOne ? shortest(1 / Double(max(routed, 1))) : "alike") : nil))
      }
      table.add(cells)
    }
    return table
  }

  private static func name(of expert: GateStatus.Expert) -> String {
    expert.name ?? (expert.id == Gate.nullExpert ? "(the bare base)" : "\(expert.id.description.prefix(12))…")
  }

  private static func part(of expert: GateStatus.Expert) -> String {
    switch expert.standing {
    case .aware: "routed"
    case .partly: "routed, partly"
    case .always, .unaware, .gone: expert.standing.rawValue
    }
  }

  private static func weight(of expert: GateStatus.Expert, _ uniform: String?) -> String {
    switch expert.standing {
    case .always: "1"
    case .aware, .partly: uniform ?? shortest(expert.weight ?? 0)
    case .unaware: "0"
    case .gone: expert.weight.map(shortest) ?? "–"
    }
  }

  /// What is amiss, and the remedy.
  private func hints(_ gate: Gate, _ status: GateStatus) -> [String] {
    var parts: [String] = []
    if !status.unaware.isEmpty {
      parts.append(
        "where it is unaware of an expert, that has weight 0; make it anew with \"gate init\", or train it")
    }
    if !status.gone.isEmpty { parts.append("what it says of experts that are gone has no effect") }
    return parts.flatMap { wrapped($0, to: Terminal.width - 2) }
  }
}
