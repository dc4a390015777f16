import LMoECore
import LMoERuntime

extension ReportPage {
  /// The experts, the gate and the options of the run.
  var trainedSection: String {
    Self.section("What was trained", "", expertTable + gateList + optionList)
  }

  private var expertTable: String {
    let run = metrics.run
    guard !run.experts.isEmpty else { return "" }
    let rows = run.experts.map { expert in
      let column = run.columns.firstIndex { $0.hasSameBytes(as: expert.name) }
      let swatch = column.map { "<i class=\"swatch k\($0)\"></i>" } ?? ""
      let state = expert.isNew ? "new" : expert.isTrained ? "trained on" : "as it was"
      return """
        <tr><th scope="row">\(swatch)<bdi>\(expert.name.html)</bdi></th><td>\(grouped(expert.rank))</td>\
        <td>\(formatted(count: expert.parameters))</td><td class="left">\(state)</td></tr>

        """
    }.joined()
    return """
      <table class="list">
      <thead><tr><th scope="col">Expert</th><th scope="col">Rank</th><th scope="col">Parameters</th>\
      <th scope="col" class="left">State</th></tr></thead>
      <tbody>
      \(rows)</tbody></table>

      """
  }

  private var gateList: String {
    guard let gate = metrics.run.gate else { return "<p class=\"none\">No gate took part.</p>\n" }
    let choice = gate.k.map { "\(gate.normaliser), k = \(grouped($0))" } ?? gate.normaliser
    let state = gate.isNew ? "new" : gate.isTrained ? "trained on" : "as it was"
    return "<h3>Gate</h3>\n"
      + Self.list([
        ("Name", gate.name), ("State", state), ("Score", gate.score), ("Scope", gate.scope),
        ("Weights", choice), ("Temperature", gate.temperature.isFinite ? shortest(gate.temperature) : ""),
        ("Parameters", formatted(count: gate.parameters)),
        ("Decides in", "\(grouped(metrics.run.places.count)) places"),
      ])
  }

  private var optionList: String {
    guard !metrics.run.options.isEmpty else { return "" }
    return "<h3>Options</h3>\n"
      + Self.list(
        metrics.run.options.map { option in
          let json = try? JSON(parsing: Array(option.value.utf8))
          return (option.name, json?.string ?? option.value)
        })
  }

  private static func list(_ facts: [(String, String)]) -> String {
    let items = facts.filter { !$0.1.isEmpty }.map { name, value in
      "<div><dt>\(name.html)</dt><dd><bdi>\(value.html)</bdi></dd></div>\n"
    }.joined()
    return "<dl>\n\(items)</dl>\n"
  }
}
