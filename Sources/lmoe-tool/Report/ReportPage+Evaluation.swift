import LMoECore
import LMoERuntime

extension ReportPage {
  /// The most kinds of text that have a chart.
  private static let mostDomains = 60

  /// The kinds of text, in the order of the run; those that it did not name after them.
  static func domains(_ metrics: TrainingMetrics) -> [String] {
    var known: Set<ByteKey> = []
    var result: [String] = []
    let found = metrics.evaluations.lazy.flatMap { $0.domains.lazy.map(\.domain) }
    for name in [metrics.run.domains, Array(found)].joined() where known.insert(ByteKey(name)).inserted {
      result.append(name)
    }
    return result
  }

  /// What held-out texts cost: all together, and each kind by itself.
  var evaluationCharts: [LineChart] {
    let all = Curve(
      "nats", style: "s0",
      metrics.evaluations.map { Curve.Point(step: $0.step, value: $0.nats) })
    guard !all.values.isEmpty else { return [] }
    let domains = Self.domains(metrics)
    var result = [evaluationChart("evaluation", "All texts", all, "wide")]
    guard domains.count > 1 else { return result }
    var points: [ByteKey: [Curve.Point]] = [:]
    for evaluation in metrics.evaluations {
      for domain in evaluation.domains {
        points[ByteKey(domain.domain), default: []].append(
          Curve.Point(step: evaluation.step, value: domain.nats))
      }
    }
    for (index, domain) in domains.prefix(Self.mostDomains).enumerated() {
      let curve = Curve("nats", style: "s0", points[ByteKey(domain)] ?? [])
      if !curve.values.isEmpty { result.append(evaluationChart("domain\(index)", domain, curve, "small")) }
    }
    return result
  }

  private func evaluationChart(_ id: String, _ title: String, _ curve: Curve, _ style: String) -> LineChart {
    let isSmall = style == "small"
    let line = curve.thinned(to: isSmall ? 400 : Curve.limit)
    let best = curve.points.filter { $0.value.isFinite }.min { $0.value < $1.value }
    let start = curve.points.first { $0.step == 0 && $0.value.isFinite }
    var curves = [line]
    if line.points.count <= 60 { curves.append(Curve("", style: "dots", line.points)) }
    if let best { curves.append(Curve("", style: "dots best", [best])) }
    let note =
      best.map { best in
        let from = start.map { Self.nats($0.value) + " → " } ?? ""
        return from + "<b>\(Self.nats(best.value))</b> at step \(grouped(best.step))"
      } ?? ""
    return LineChart(
      id: id, title: title, note: note, curves: curves, steps: isSmall ? smallScale : scale,
      level: start.map { LineChart.Level(value: $0.value, name: "step 0") }, style: isSmall ? style : "",
      marks: marks, hasLegend: false)
  }

  /// The evaluations.
  func evaluationSection(_ charts: [LineChart]) -> String {
    guard let all = charts.first else { return "" }
    let parts = charts.dropFirst().map { $0.html() }.joined()
    let left = Self.domains(metrics).count - Self.mostDomains
    let rest = left > 0 ? "<p class=\"none\">And \(grouped(left)) kinds of text more.</p>\n" : ""
    let hasStart = metrics.evaluations.first?.step == 0
    return Self.section(
      "Evaluation",
      "Nats a token of texts that are not trained on." + (hasStart ? " Dashed: before the first step." : "")
        + " Large dot: the best.",
      all.html() + (parts.isEmpty ? "" : "<div class=\"charts three\">\n\(parts)</div>\n") + rest)
  }
}
