import LMoECore
import LMoERuntime

extension ReportPage {
  /// The curves of the steps: the loss, and the others.
  var charts: (loss: LineChart?, others: [LineChart]) {
    guard !metrics.steps.isEmpty else { return (nil, []) }
    var others = auxiliaryCharts
    let rates = Self.curves(metrics.steps, \.rates, names: ["gate": "gate", "a": "A", "b": "B"])
    if !rates.isEmpty {
      others.insert(
        LineChart(
          id: "rates", title: "Learning rate", curves: rates.map { $0.withGaps.thinned() },
          steps: smallScale, isFromZero: true, style: "small", marks: marks), at: 0)
    }
    let norms = curve("norm", \.gradientNorm)
    let sorted = norms.values.sorted()
    // A few large ones would hide all others.
    let hasSpikes = !sorted.isEmpty && (sorted.last ?? 0) > 10 * sorted[sorted.count / 2]
    others.append(
      LineChart(
        id: "norm", title: "Gradient norm", curves: Self.lines(norms), steps: smallScale,
        isFromZero: true, logarithmic: hasSpikes, style: "small", marks: marks, hasLegend: false))
    others.append(
      LineChart(
        id: "speed", title: "Tokens per second",
        curves: Self.lines(curve("tokens/s", \.tokensPerSecond)), steps: smallScale, isFromZero: true,
        style: "small", marks: marks, hasLegend: false))
    return (lossChart, others)
  }

  private var lossChart: LineChart {
    LineChart(
      id: "loss", title: "Loss", curves: Self.lines(curve("loss", \.loss)), steps: scale,
      logarithmic: false, marks: marks)
  }

  /// A curve as it is drawn: what was measured faintly, and its moving mean.
  private static func lines(_ raw: Curve) -> [Curve] {
    // So few that there is nothing to smooth.
    guard raw.points.count >= 12 else { return [raw.withGaps.thinned()] }
    let half = max(2, min(500, raw.points.count / 60))
    return [
      Curve(raw.name, style: "faint", raw.points).withGaps.thinned(),
      raw.smoothed("smoothed", style: "s0", over: half).withGaps.thinned(),
    ]
  }

  private func curve(_ name: String, _ value: (StepMetrics) -> Double) -> Curve {
    Curve(name, style: "s0", metrics.steps.map { Curve.Point(step: $0.step, value: value($0)) })
  }

  /// What is added to the loss, a chart each: their sizes have nothing in common.
  private var auxiliaryCharts: [LineChart] {
    let titles = [
      "balance": "Load balance", "z": "Score size (z)", "mutual-information": "Mutual information",
      "supervised": "Routing supervision",
    ]
    return Self.curves(metrics.steps, \.auxiliary, names: titles).enumerated().map { index, curve in
      LineChart(
        id: "auxiliary\(index)", title: curve.name,
        curves: Self.lines(Curve("measured", style: "s0", curve.points)), steps: smallScale, style: "small",
        marks: marks, hasLegend: false)
    }
  }

  /// The most curves of one kind.
  private static let most = 12

  private static func curves(
    _ steps: [StepMetrics], _ values: (StepMetrics) -> [MetricValue], names: [String: String]
  ) -> [Curve] {
    var order: [ByteKey: Int] = [:]
    var points: [(name: String, points: [Curve.Point])] = []
    for step in steps {
      for value in values(step) {
        let key = ByteKey(value.name)
        guard let index = order[key] ?? (points.count < most ? points.count : nil) else { continue }
        if order[key] == nil {
          order[key] = index
          points.append((names[value.name] ?? value.name, []))
        }
        points[index].points.append(Curve.Point(step: step.step, value: value.value))
      }
    }
    return points.enumerated().map {
      Curve($0.element.name, style: "s\($0.offset % 4)", $0.element.points)
    }
  }

  /// The loss, with what happened on its time axis.
  func lossSection(_ chart: LineChart?) -> String {
    guard let chart else { return "<p class=\"none\">No step has been taken.</p>\n" }
    return Self.section("Training", "", lane + chart.html())
  }

  /// The other curves of the steps.
  func otherSection(_ charts: [LineChart]) -> String {
    let content = charts.map { $0.html() }.joined()
    return content.isEmpty ? "" : "<section class=\"charts three\">\n\(content)</section>\n"
  }
}
