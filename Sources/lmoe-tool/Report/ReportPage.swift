import LMoECore
import LMoERuntime

/// A page about a training run: one HTML file that needs nothing else.
///
/// All curves and maps are there without a script; the script shows the numbers at a step, and the routing at
/// any evaluation.
struct ReportPage {
  let metrics: TrainingMetrics
  /// The steps of the run.
  let scale: ChartScale
  /// The same with fewer names, for small charts.
  let smallScale: ChartScale
  /// How much of each expert each kind of text has, by layer; nil without a gate.
  let maps: RoutingMaps?
  /// The last step that anything is known of.
  let lastStep: Int
  /// Lines where something happened, for all plots.
  let marks: String

  /// Makes the page of a run.
  init(_ metrics: TrainingMetrics) {
    self.metrics = metrics
    lastStep = max(
      metrics.steps.last?.step ?? 0, metrics.evaluations.last?.step ?? 0,
      metrics.events.map(\.step).max() ?? 0)
    scale = ChartScale.steps(to: lastStep)
    smallScale = ChartScale.steps(to: lastStep, count: 2)
    maps = RoutingMaps(metrics)
    marks = Self.marks(metrics.events, scale)
  }

  /// The page.
  func html() -> String {
    let (loss, others) = charts
    let evaluations = evaluationCharts
    let curves = [loss].compactMap(\.self) + others + evaluations + entropyCharts
    return HTMLPage(
      title: fileName + ": training", style: Self.style + HTMLPage.colours(of: metrics.run.columns),
      body: header + "<main>\n" + lossSection(loss) + otherSection(others)
        + evaluationSection(evaluations) + useSection + routingSection + trainedSection + eventSection
        + "</main>\n" + notes,
      data: [
        "last": .integer(max(1, lastStep)), "charts": .array(curves.map(\.data)),
        "use": useData, "names": .array(names.map { .string($0.printable) }), "maps": maps?.data ?? .null,
      ],
      script: Self.script
    ).html
  }

  /// The bundle without its directory.
  var fileName: String {
    let parts = metrics.run.bundle.utf8.split(separator: UInt8(ascii: "/"))
    return parts.last.map { String(decoding: $0, as: UTF8.self) } ?? "training run"
  }

  /// What the columns are called.
  var names: [String] { metrics.run.columns.map(RoutingTrace.name(ofColumn:)) }

  /// A loss for a reader.
  static func nats(_ value: Double) -> String {
    value.isFinite ? formatted(value, digits: value < 10 ? 3 : 1).replacing("-", with: "−") : "–"
  }

  /// A part of the page under a heading; nothing if there is nothing in it.
  static func section(_ title: String, _ lead: String = "", _ content: String) -> String {
    guard !content.isEmpty else { return "" }
    let lead = lead.isEmpty ? "" : "<p class=\"lead\">\(lead)</p>\n"
    return "<section>\n<h2>\(title)</h2>\n\(lead)\(content)</section>\n"
  }
}
