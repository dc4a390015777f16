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
          id: "rates", title: "Learning rate", curves: rates, steps: scale, isFromZero: true,
          style: "small", marks: marks), at: 0)
    }
    let norms = curve("norm", "s0 thin", \.gradientNorm)
    let sorted = norms.values.sorted()
    // A few large ones would hide all others.
    let hasSpikes = !sorted.isEmpty && (sorted.last ?? 0) > 10 * sorted[sorted.count / 2]
    others.append(
      LineChart(
        id: "norm", title: "Gradient norm", curves: [norms.withGaps.thinned()], steps: scale,
        isFromZero: true, logarithmic: hasSpikes, style: "small", marks: marks))
    others.append(
      LineChart(
        id: "speed", title: "Tokens per second",
        curves: [curve("tokens/s", "s0 thin", \.tokensPerSecond).withGaps.thinned()], steps: scale,
        isFromZero: true, style: "small", marks: marks))
    return (lossChart, others)
  }

  private var lossChart: LineChart {
    let raw = curve("loss", "s0", \.loss)
    // So few that there is nothing to smooth.
    guard raw.points.count >= 12 else {
      return LineChart(
        id: "loss", title: "Loss", curves: [raw], steps: scale, logarithmic: false, marks: marks)
    }
    let half = max(2, min(500, raw.points.count / 60))
    let smooth = raw.smoothed("smoothed", style: "s0", over: half)
    return LineChart(
      id: "loss", title: "Loss",
      curves: [
        Curve("loss", style: "faint", raw.points).withGaps.thinned(), smooth.withGaps.thinned(),
      ], steps: scale, logarithmic: false, marks: marks)
  }

  private func curve(_ name: String, _ style: String, _ value: (StepMetrics) -> Double) -> Curve {
    Curve(name, style: style, metrics.steps.map { Curve.Point(step: $0.step, value: value($0)) })
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
        curves: [Curve(curve.name, style: "s0 thin", curve.points)], steps: scale, style: "small",
        marks: marks)
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
      Curve($0.element.name, style: "s\($0.offset % 4)", $0.element.points).withGaps.thinned()
    }
  }

  /// The loss, with what happened on its time axis.
  func lossSection(_ chart: LineChart?) -> String {
    guard let chart else { return "<p class=\"none\">No step has been taken.</p>\n" }
    return Self.section("Loss", "", lane + chart.html())
  }

  /// The other curves of the steps.
  func otherSection(_ charts: [LineChart]) -> String {
    let content = charts.map { $0.html() }.joined()
    return content.isEmpty ? "" : "<section class=\"charts three\">\n\(content)</section>\n"
  }
}
