import LMoECore
import LMoEFormat

/// `inspect --provenance`: where each bank comes from and what came with it.
struct ProvenanceDetails {
  let bank: BankEntry
  let card: JSON?
  let documents: [Entry]

  var json: JSON {
    [
      "bank": .string(bank.name), "id": .string(bank.id.description),
      "content_id": .string(bank.contentID.description), "provenance": card?["provenance"] ?? .null,
      "source_id": card?["source_id"] ?? card?["base"]?["source_id"] ?? .null,
      "left_out": card?["left_out"] ?? [], "ignored_keys": card?["ignored_keys"] ?? [],
      "documents": .array(
        documents.map { ["name": .string($0.name), "bytes": .integer($0.type.rawBytes)] }),
    ]
  }

  var lines: [String] {
    var lines = [Terminal.bold(bank.name.printable.cut(to: Terminal.width))]
    func add(_ label: String, _ value: String?) {
      if let value { lines.append("  \(label.padded(to: 11)) \(value.printable)".cut(to: Terminal.width)) }
    }
    let origin = card?["provenance"]
    add(
      "from",
      origin?["imported_from"]?.string ?? origin?["made_by"]?.string.map { "nothing, made here by \($0)" })
    add(
      "at",
      ((origin?["imported_ns"] ?? origin?["made_ns"])?.number?.integer(UInt64.self)).map {
        formatted(nanoseconds: $0) + " UTC"
      }
    )
    add("by", origin?["tool"]?.string)
    add("trained", ExpertFacts(bank, card: card).training)
    add("id", bank.id.description)
    add("content id", bank.contentID.description)
    add("source id", card?["source_id"]?.string)
    if let base = card?["base"], !base.isNull {
      add(
        "base",
        "\(base["name"]?.string ?? "unnamed"), \(base["match"]?.string ?? "unknown"), source \(base["source_id"]?.string ?? "unknown")"
      )
    }
    for (label, key) in [("not taken", "left_out"), ("ignored", "ignored_keys")] {
      let names = (card?[key]?.array ?? []).compactMap(\.string)
      for (index, line) in wrapped(names, to: Terminal.width - 14).enumerated() {
        add(index == 0 ? label : "", line)
      }
    }
    for document in documents {
      let size = formatted(bytes: document.type.rawBytes).padded(to: 9)
      lines.append("    \(size) \(document.name.printable)".cut(to: Terminal.width))
    }
    return lines
  }
}
