import LMoECore
import LMoEFormat

/// `inspect --gate`: each gate in full.
struct GateDetails {
  let bank: BankEntry
  let card: JSON?
  /// Names of the experts by their ids.
  let names: [String: String]

  /// One line for the first screen.
  var summary: String {
    if text("score") == "constant", card?["weights"]?.string == "uniform" {
      return "\(bank.shortName): \(members) alike, for every token".printable
    }
    return "\(bank.shortName): \(text("score")), scope \(text("scope")), \(members)".printable
  }

  private func text(_ key: String) -> String { card?[key]?.string ?? "unknown" }

  private var members: String {
    guard let members = card?["members"]?.array else { return "every expert" }
    return "\(members.count) expert\(members.count == 1 ? "" : "s")"
  }

  var lines: [String] {
    var lines = ["\(Terminal.bold("gate " + bank.shortName.printable))  id \(bank.id)"]
    for (key, label) in [
      ("score", "score"), ("input", "input"), ("scope", "scope"), ("pooling", "pooling"),
      ("normaliser", "normaliser"), ("k", "k"), ("temperature", "temperature"), ("mask", "mask"),
    ] {
      guard let value = card?[key], !value.isNull else { continue }
      lines.append("  \(label.padded(to: 12)) \((value.string ?? value.serialized()).printable)")
    }
    if let weights = card?["weights"]?.array {
      for weight in weights { lines.append(row(weight, weight["weight"]?.serialized() ?? "–")) }
    } else if let weights = card?["weights"]?.string {
      lines.append("  \("weights".padded(to: 12)) \(weights.printable)")
    }
    if let members = card?["members"]?.array {
      for member in members { lines.append(row(member, member["role"]?.string ?? "–")) }
    } else {
      lines.append("  \("members".padded(to: 12)) every expert, those to come too")
    }
    if bank.tensorCount > 0 {
      lines.append(
        "  \("tensors".padded(to: 12)) \(bank.tensorCount), \(formatted(bytes: bank.logicalBytes))")
    }
    return lines
  }

  private func row(_ member: JSON, _ what: String) -> String {
    let id = member["expert"]?.string ?? "?"
    return "    \((names[id] ?? id).printable.padded(to: 24)) \(what.printable)"
  }
}
