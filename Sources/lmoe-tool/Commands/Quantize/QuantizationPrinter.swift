import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// What `quantize` did, as text and as JSON.
struct QuantizationPrinter {
  private let report: QuantizationReport
  private let fileBefore: UInt64
  private let fileAfter: UInt64
  private let texts: PerplexityChange?
  private let before: [Evaluation]?
  private let after: [Evaluation]?

  init(
    _ report: QuantizationReport, fileBefore: UInt64, fileAfter: UInt64, texts: PerplexityChange?,
    before: [Evaluation]?, after: [Evaluation]?
  ) {
    (self.report, self.fileBefore, self.fileAfter) = (report, fileBefore, fileAfter)
    (self.texts, self.before, self.after) = (texts, before, after)
  }

  /// Name, cost before and cost after of each kind of text, and of all if there are several.
  private var changes: [(name: String, before: Evaluation, after: Evaluation)] {
    guard let texts, let before, let after else { return [] }
    var rows = zip(texts.groups, zip(before, after)).map { ($0.domain, $1.0, $1.1) }
    if rows.count > 1 {
      let sum = { (results: [Evaluation]) in results.reduce(into: Evaluation()) { $0.add($1) } }
      rows.append(("all", sum(before), sum(after)))
    }
    return rows
  }

  private func percent(_ value: Double) -> String { "\(significant(100 * value)) %" }

  var lines: [String] {
    let rows = report.rows
    let stored = rows.reduce(into: (before: UInt64(0), after: UInt64(0))) {
      $0.before += $1.storedBefore
      $0.after += $1.storedAfter
    }
    var lines = [
      "\(report.path.printable): \(report.banks.joined(separator: ", ").printable): "
        + "\(formatted(bytes: stored.before)) → \(formatted(bytes: stored.after)) stored, generation \(report.generation), "
        + "the file \(formatted(bytes: fileBefore)) → \(formatted(bytes: fileAfter))"
    ]
    var table = Table([
      ("tensors", .left), ("type", .left), ("before", .right), ("after", .right), ("bits", .right),
      ("RMS error", .right), ("largest", .right),
    ])
    for row in rows {
      let isChanged = row.converted > 0
      table.add([
        row.class.title, row.typesAfter.joined(separator: "+"), formatted(bytes: row.storedBefore),
        formatted(bytes: row.storedAfter), formatted(row.bitsAfter, digits: 2),
        isChanged ? percent(row.error.relative) : "–",
        isChanged ? percent(row.error.relativeLargest) : "–",
      ])
    }
    lines += table.lines
    lines.append("  Bits of a weight; errors relative to the root mean square of the weights.")
    guard !changes.isEmpty, let texts else { return lines }
    var costs = Table([
      (texts.selection.title, .left), ("tokens", .right), ("perplexity", .right), ("after", .right),
      ("change", .right),
    ])
    for change in changes {
      let ratio = change.after.perplexity / change.before.perplexity - 1
      costs.add([
        change.name, grouped(change.before.tokens), formatted(change.before.perplexity, digits: 4),
        formatted(change.after.perplexity, digits: 4),
        ratio.isFinite ? (ratio < 0 ? "" : "+") + formatted(100 * ratio, digits: 3) + " %" : "–",
      ])
    }
    return lines + costs.lines
  }

  var json: JSON {
    [
      "schema": 1, "path": .string(report.path), "generation": .integer(report.generation),
      "written_bytes": .integer(report.addedBytes), "file_bytes_before": .integer(fileBefore),
      "file_bytes": .integer(fileAfter), "banks": .array(report.banks.map(JSON.string)),
      "classes": .array(
        report.rows.map { row in
          [
            "class": .string(row.class.rawValue), "tensors": .integer(row.tensors),
            "converted": .integer(row.converted), "elements": .integer(row.elements),
            "types_before": .array(row.typesBefore.map(JSON.string)),
            "types": .array(row.typesAfter.map(JSON.string)),
            "stored_bytes_before": .integer(row.storedBefore), "stored_bytes": .integer(row.storedAfter),
            "bits_before": .double(row.bitsBefore), "bits": .double(row.bitsAfter),
            "rms_error": row.converted > 0 ? .double(row.error.relative) : .null,
            "largest_error": row.converted > 0 ? .double(row.error.relativeLargest) : .null,
          ]
        }),
      "notes": .array(report.notes.map(JSON.string)),
      "selection": texts.map { .string($0.selection.title) } ?? .null,
      "texts": .array(
        changes.map {
          [
            "domain": .string($0.name), "tokens": .integer($0.before.tokens),
            "nats_before": .double($0.before.natsPerToken), "nats": .double($0.after.natsPerToken),
            "perplexity_before": .double($0.before.perplexity), "perplexity": .double($0.after.perplexity),
          ]
        }),
    ]
  }
}
