import LMoECore
import LMoERuntime

extension ReportPage {
  /// The most stretches of steps that the use of experts is drawn in.
  private static let stretches = 200

  /// The use of experts in a stretch of steps, as parts of 1 that add up to it.
  struct Use {
    let step: Int
    let shares: [Double]
  }

  /// The mean use in each stretch of steps; nothing without a gate.
  var uses: [Use] {
    let width = metrics.run.columns.count
    guard width > 0 else { return [] }
    let steps = metrics.steps.filter { $0.use.count == width }
    guard !steps.isEmpty else { return [] }
    let size = (steps.count + Self.stretches - 1) / Self.stretches
    return stride(from: 0, to: steps.count, by: size).compactMap { start in
      let part = steps[start..<min(start + size, steps.count)]
      var sums = [Double](repeating: 0, count: width)
      for step in part {
        for (column, weight) in step.use.enumerated() where weight.isFinite {
          sums[column] += Double(abs(weight))
        }
      }
      let total = sums.reduce(0, +)
      guard total > 0, let last = part.last else { return nil }
      return Use(step: last.step, shares: sums.map { $0 / total })
    }
  }

  /// How sure the gate is.
  var entropyCharts: [LineChart] {
    let points = metrics.steps.compactMap { step in
      step.entropy.map { Curve.Point(step: step.step, value: $0) }
    }
    guard !points.isEmpty else { return [] }
    let curve = Curve("entropy", style: "s0", points)
    let ends = [points.first, points.last].compactMap { $0.map { formatted($0.value, digits: 2) } }
    return [
      LineChart(
        id: "entropy", title: "Entropy of the weights",
        note: "\(ends.joined(separator: " → ")) of the largest possible",
        curves: [curve.withGaps.thinned()], steps: scale, fixedRange: 0...1, style: "flat",
        marks: marks)
    ]
  }

  /// The use of the experts, and how sure the gate is.
  var useSection: String {
    let uses = uses
    let entropy = entropyCharts.map { $0.html() }.joined()
    guard let last = uses.last else { return Self.section("Use of the experts", "", entropy) }
    let columns = metrics.run.columns.indices
    var bounds = [[Double]](repeating: [0], count: uses.count)
    let areas = columns.map { column in
      for (index, use) in uses.enumerated() {
        bounds[index].append((bounds[index].last ?? 0) + use.shares[column])
      }
      return "<path class=\"k\(column)\" d=\"\(area(uses, bounds, column))\"/>\n"
    }.joined()
    let items = columns.map { column in
      """
      <li class="k\(column)"><i class="swatch"></i><bdi>\(names[column].html)</bdi> \
      <span>\(HTMLPage.percent(last.shares[column]))</span></li>

      """
    }.joined()
    let chart = """
      <figure class="chart use" data-chart="use">
      <figcaption><h3>Share of the weights</h3><span class="note"></span><output></output></figcaption>
      <div class="plot"><div class="layer"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" \
      aria-hidden="true">
      \(areas)\(marks)</svg><div class="ys" aria-hidden="true"><span style="top:0%">100 %</span>\
      <span style="top:50%">50 %</span><span style="top:100%">0</span></div></div>\
      <i class="cursor" hidden></i></div>
      \(LineChart.axis(scale))</figure>
      <ul class="legend" aria-label="Experts, and their share at the end">
      \(items)</ul>

      """
    return Self.section(
      "Use of the experts", "Mean weight of each expert over tokens and places, as trained.",
      chart + entropy)
  }

  /// The outline of a column's part: along its lower bound and back along its upper one.
  private func area(_ uses: [Use], _ bounds: [[Double]], _ column: Int) -> String {
    func point(_ index: Int, _ bound: Int) -> String {
      let x = LineChart.coordinate(scale.place(of: Double(uses[index].step)) * 1000)
      return "\(x) \(LineChart.coordinate((1 - bounds[index][bound]) * LineChart.height))"
    }
    let lower = uses.indices.map { point($0, column) }
    let upper = uses.indices.reversed().map { point($0, column + 1) }
    // One stretch is as wide as the plot.
    if uses.count == 1 {
      let (low, high) = (1 - bounds[0][column], 1 - bounds[0][column + 1])
      let height = LineChart.height
      return "M0 \(LineChart.coordinate(low * height))H1000V\(LineChart.coordinate(high * height))H0Z"
    }
    return "M" + (lower + upper).joined(separator: "L") + "Z"
  }

  /// What the script needs of the use of experts.
  var useData: JSON {
    let uses = uses
    guard !uses.isEmpty else { return .null }
    return [
      "x": .array(uses.map { .integer($0.step) }),
      "shares": .array(
        uses.map { .array($0.shares.map { .double(($0 * 1000).rounded() / 1000) }) }),
    ]
  }
}
