import LMoECore
import LMoERuntime

/// What `eval` found, as text and as JSON.
struct EvaluationReport {
  /// What one choice of experts pays.
  struct Row {
    let name: String
    /// In the order of the domains.
    let results: [Evaluation]

    /// Over all domains.
    var all: Evaluation { results.reduce(into: Evaluation()) { $0.add($1) } }
  }

  let domains: [String]
  let rows: [Row]

  private func number(_ value: Double, digits: Int = 3) -> String {
    value.isFinite ? formatted(value, digits: digits) : "–"
  }

  /// One row for each kind of text.
  var single: [String] {
    guard let row = rows.first else { return [] }
    var table = Table([
      (row.name, .left), ("tokens", .right), ("nats/token", .right), ("perplexity", .right),
      ("bits/byte", .right),
    ])
    var lines = Array(zip(domains, row.results))
    if lines.count > 1 { lines.append(("all", row.all)) }
    for (domain, result) in lines {
      table.add([
        domain, grouped(result.tokens), number(result.natsPerToken), number(result.perplexity),
        number(result.bitsPerByte),
      ])
    }
    return table.lines
  }

  /// One row for each choice of experts, one column for each kind of text; the best of a column has a star.
  func table(perplexity: Bool) -> [String] {
    func value(_ result: Evaluation) -> Double { perplexity ? result.perplexity : result.natsPerToken }
    var table = Table(
      [(perplexity ? "perplexity" : "nats/token", .left)] + (domains + ["all"]).map { ($0 + " ", .right) })
    let columns =
      domains.indices.map { index in rows.map { value($0.results[index]) } } + [rows.map { value($0.all) }]
    for (index, row) in rows.enumerated() {
      table.add(
        [row.name]
          + columns.map { column in
            let text = number(column[index])
            return column[index] == column.min() && rows.count > 1 ? text + "*" : text + " "
          })
    }
    return table.lines
  }

  func json(path: String) -> JSON {
    func object(_ result: Evaluation) -> JSON {
      [
        "tokens": .integer(result.tokens), "bytes": .integer(result.bytes), "nats": .double(result.nats),
        "nats_per_token": finite(result.natsPerToken), "perplexity": finite(result.perplexity),
        "bits_per_byte": finite(result.bitsPerByte),
      ]
    }
    return [
      "schema": 1, "path": .string(path),
      "results": .array(
        rows.map { row in
          [
            "experts": .string(row.name),
            "domains": .object(zip(domains, row.results).map { ($0, object($1)) }), "all": object(row.all),
          ]
        }),
    ]
  }

  private func finite(_ value: Double) -> JSON { value.isFinite ? .double(value) : .null }
}
