import LMoECore
import LMoEExperts
import LMoEFormat

/// `inspect --experts`: each expert in full, and where in the model it acts.
struct ExpertDetails {
  let expert: ExpertFacts

  var lines: [String] {
    let base = expert.card?["base"]
    let name = base?["name"]?.string.map { "trained on \"\($0)\", " } ?? ""
    let title = "  \(expert.kind.printable.cut(to: 16)), id \(expert.bank.id)"
    let short = expert.bank.shortName.printable.cut(to: Terminal.width - 7 - title.displayWidth)
    var lines = [
      Terminal.bold("expert " + short) + title,
      "  \(formatted(count: expert.parameters)) parameters (\(dtypes)), \(formatted(bytes: expert.bank.storedBytes)) stored of \(formatted(bytes: expert.bank.logicalBytes))",
      "  base: \(name)\(base?["match"]?.string ?? "unknown"), source \(base?["source_id"]?.string.map { $0.prefix(12) + "…" } ?? "unknown")",
    ]
    if let norm = expert.norm {
      let share = expert.share.map { ", \(significant(100 * $0)) % of the weights it changes" } ?? ""
      lines.append("  norm \(significant(norm))\(share)")
    }
    if let training = expert.training { lines.append("  trained here: \(training)") }
    lines += expert.extras.map { "  " + $0 }
    lines = lines.enumerated().map {
      $0.offset == 0 ? $0.element : $0.element.printable.cut(to: Terminal.width)
    }
    return lines + [""] + moduleTable.lines
  }

  private var dtypes: String {
    (expert.card?["dtypes"]?.object?.members ?? []).map(\.key).joined(separator: " ")
  }

  /// A row for each kind of module and numbers: how large the delta is from the first layer to the last.
  private var moduleTable: Table {
    var rows: [(key: String, cells: [String], norms: [Double?])] = []
    var places: [String: Int] = [:]
    for group in expert.groups {
      for (target, norm) in zip(group.targets, group.norms) {
        let kind = targetSummary([target])
        let key = "\(kind) \(group.numbers.summary)"
        if let place = places[key] {
          rows[place].norms.append(norm)
        } else {
          places[key] = rows.count
          let numbers = group.numbers
          rows.append(
            (key, [kind, "\(numbers.rank)", shortest(numbers.alpha), shortest(numbers.scaling)], [norm]))
        }
      }
    }
    // As data flows through a layer; other modules after them, in the order of the card.
    let order = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    let sorted = rows.indices.sorted {
      let (left, right) = (
        order.firstIndex(of: rows[$0].cells[0]) ?? 7, order.firstIndex(of: rows[$1].cells[0]) ?? 7
      )
      return (left, $0) < (right, $1)
    }
    rows = sorted.map { rows[$0] }
    let largest = rows.flatMap { $0.norms.compactMap(\.self) }.max() ?? 0
    var table = Table([
      ("module", .left), ("rank", .right), ("alpha", .right), ("scale", .right), ("count", .right),
      ("norm", .right), ("first layer … last", .left),
    ])
    for row in rows {
      let known = row.norms.compactMap(\.self)
      let total =
        known.count == row.norms.count ? significant(known.reduce(0) { $0 + $1 * $1 }.squareRoot()) : "–"
      table.add(row.cells + ["\(row.norms.count)", total, sparkline(row.norms, largest: largest)])
    }
    return table
  }
}

/// Bars of eight heights, one a value, at most 32: more values share a bar.
func sparkline(_ values: [Double?], largest: Double) -> String {
  let bars = Array("▁▂▃▄▅▆▇█")
  let width = min(values.count, 32)
  return String(
    (0..<width).map { column in
      let part = values[(column * values.count / width)..<((column + 1) * values.count / width)]
      guard let value = part.compactMap(\.self).max(), largest > 0 else { return " " }
      // A card may say anything, a size below zero too.
      return bars[Int(max(0, min(1, value / largest)) * 7.999)]
    })
}
