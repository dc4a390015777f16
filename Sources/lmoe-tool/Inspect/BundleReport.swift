import LMoECore
import LMoEExperts
import LMoEFormat

/// `inspect` of a bundle.
struct BundleReport: InspectReport {
  /// An expert as its card tells it.
  struct Expert {
    let bank: BankEntry
    let kind: String
    let ranks: [Int]
    let alphas: [Double]
    let targets: [String]
    let parameters: Int
    let base: JSON

    init(_ bank: BankEntry, card: JSON?) {
      self.bank = bank
      kind = card?["type"]?.string ?? "unknown"
      let groups = card?["modules"]?.array ?? []
      ranks = Set(groups.compactMap { $0["rank"]?.int }).sorted()
      alphas = Set(groups.compactMap { $0["alpha"]?.double }).sorted()
      let modules = groups.flatMap { $0["targets"]?.array ?? [] }.compactMap(\.string)
      targets = targetSummary(modules).split(separator: " ").map(String.init)
      parameters = card?["parameters"]?.int ?? 0
      base = card?["base"] ?? .null
    }

    var json: JSON {
      [
        "name": .string(bank.shortName), "id": .string(bank.id.description), "kind": .string(kind),
        "ranks": .array(ranks.map { .integer($0) }), "alpha": .array(alphas.map(JSON.double)),
        "targets": .array(targets.map(JSON.string)), "parameters": .integer(parameters),
        "stored_bytes": .integer(bank.storedBytes), "raw_bytes": .integer(bank.logicalBytes),
        "content_id": .string(bank.contentID.description), "base": base,
      ]
    }
  }

  private let bundle: Bundle
  private let baseCard: JSON?
  private let experts: [Expert]
  private let gates: [(bank: BankEntry, card: JSON?)]
  private let tensors: [TensorLine]?
  private let history: [Bundle.Generation]?
  private let liveBytes: UInt64

  init(_ bundle: Bundle, withTensors: Bool, withHistory: Bool) throws {
    self.bundle = bundle
    baseCard = try bundle.root.bank("base").flatMap { try bundle.card(of: $0) }
    experts = try bundle.banks(ofKind: "expert").map { Expert($0, card: try bundle.card(of: $0)) }
    gates = try bundle.banks(ofKind: "gate").map { ($0, try bundle.card(of: $0)) }
    tensors =
      withTensors
      ? try bundle.banks.flatMap { bank in
        try bundle.manifest(of: bank).tensors.map {
          TensorLine(bank: bank.name, $0, isExternal: bank.isExternal)
        }
      } : nil
    history = withHistory ? try bundle.history() : nil
    // The exact number needs every manifest; those are read for --tensors anyway.
    liveBytes = withTensors ? try bundle.liveBytes() : min(bundle.superblock.liveBytes, bundle.fileBytes)
  }

  private var runsFromMap: Bool { bundle.banks.allSatisfy(\.isRaw) }

  var json: JSON {
    var base: JSON = .null
    if let bank = bundle.root.bank("base") {
      base = [
        "architecture": baseCard?["architecture"] ?? .null, "parameters": baseCard?["parameters"] ?? .null,
        "content_id": .string(bank.contentID.description), "source_id": baseCard?["source_id"] ?? .null,
        "dtypes": baseCard?["dtypes"] ?? .null, "stored_bytes": .integer(bank.storedBytes),
        "raw_bytes": .integer(bank.logicalBytes), "external": .bool(bank.isExternal),
      ]
    }
    var object: [(String, JSON)] = [
      ("schema", 1), ("format", "lmoe"), ("generation", .integer(bundle.generation)),
      ("file_bytes", .integer(bundle.fileBytes)), ("live_bytes", .integer(liveBytes)),
      ("runs_from_map", .bool(runsFromMap)), ("base", base), ("experts", .array(experts.map(\.json))),
      (
        "gates",
        .array(
          gates.map {
            [
              "name": .string($0.bank.shortName), "id": .string($0.bank.id.description),
              "card": $0.card ?? .null,
            ]
          })
      ),
    ]
    if let tensors { object.append(("tensors", .array(tensors.map(\.json)))) }
    if let history { object.append(("history", History.json(history))) }
    return .object(object)
  }

  var lines: [String] {
    var lines = [
      "\(Terminal.bold(bundle.path.printable))  L-MoE bundle, generation \(bundle.generation), "
        + "\(formatted(bytes: bundle.fileBytes)), \(runsFromMap ? "runs from the memory map" : "compressed")"
    ]
    if bundle.isRecovered { lines.append("  recovered: the newest generation is damaged") }
    if let successor = bundle.successor {
      lines.append("  generation \(successor) was written and its superblock is lost; see \"restore\"")
    }
    if let bank = bundle.root.bank("base") { lines += baseLines(bank) }
    if !experts.isEmpty {
      lines.append("")
      lines += expertTable.lines
    }
    for gate in gates {
      let score = gate.card?["score"]?.string ?? "unknown"
      let weights = gate.card?["weights"]?.string.map { ", \($0)" } ?? ""
      let scope = gate.card?["scope"]?.string ?? "unknown"
      lines.append("")
      lines.append("  gate \(gate.bank.shortName): \(score)\(weights), scope \(scope)".printable)
    }
    let dead = bundle.fileBytes - min(liveBytes, bundle.fileBytes)
    if dead > bundle.fileBytes / 10 * 3 {
      lines.append("")
      lines.append("  about \(formatted(bytes: dead)) are history; \"lmoe-tool compact\" drops them")
    }
    if let tensors { lines += [""] + TensorLine.table(tensors).lines }
    if let history { lines += [""] + History.table(history).lines }
    return lines
  }

  private func baseLines(_ bank: BankEntry) -> [String] {
    let name = baseCard?["provenance"]?["imported_from"]?.string ?? "base"
    let architecture = baseCard?["architecture"]?.string ?? "unknown architecture"
    let parameters = baseCard?["parameters"]?.int ?? 0
    let dtypes = (baseCard?["dtypes"]?.object?.members ?? []).map(\.key).joined(separator: " ")
    let storage =
      bank.isExternal
      ? "weights not in the file"
      : "\(formatted(bytes: bank.storedBytes)) stored of \(formatted(bytes: bank.logicalBytes)) "
        + "(\(formatted(100 * Double(bank.storedBytes) / Double(max(bank.logicalBytes, 1)), digits: 1)) %)"
    return [
      "  base \(name): \(architecture), \(formatted(count: parameters)) parameters, \(dtypes)".printable,
      "       \(storage), id \(bank.contentID)",
    ]
  }

  private var expertTable: Table {
    var table = Table([
      ("expert", .left), ("kind", .left), ("rank", .left), ("alpha", .left), ("targets", .left),
      ("params", .right), ("stored", .right),
    ])
    for expert in experts {
      let targets = expert.targets.joined(separator: " ").replacingSuffix("_proj")
      table.add([
        expert.bank.shortName, expert.kind, expert.ranks.map(String.init).joined(separator: " "),
        expert.alphas.map { JSON.double($0).serialized() }.joined(separator: " "), targets,
        formatted(count: expert.parameters), formatted(bytes: expert.bank.storedBytes),
      ])
    }
    return table
  }
}

extension String {
  /// Words without a suffix that all of them would repeat.
  fileprivate func replacingSuffix(_ suffix: String) -> String {
    split(separator: " ").map { $0.hasSuffix(suffix) ? String($0.dropLast(suffix.count)) : String($0) }
      .joined(separator: " ")
  }
}
