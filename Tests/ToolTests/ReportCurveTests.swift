import LMoECore
import LMoERuntime
import Testing

@testable import lmoe_tool

/// The curves, scales and maps of a report.
@Suite struct ReportCurveTests {
  private static func curve(_ values: [Double]) -> Curve {
    Curve("c", style: "s0", values.enumerated().map { Curve.Point(step: $0.offset + 1, value: $0.element) })
  }

  @Test(arguments: [5, 1999, 2000, 2001, 100_000]) func `a thinned curve keeps its extremes`(count: Int) {
    var values = (0..<count).map { Double(($0 * 7919) % 1000) }
    values[count / 3] = 5000
    values[count / 2] = -5000
    if count > 10 { values[count / 2 + 1] = .nan }
    let curve = Self.curve(values).thinned()
    #expect(curve.points.count <= Curve.limit)
    #expect(curve.points.count > min(count, Curve.limit) * 9 / 10)
    #expect(curve.values.max() == 5000 && curve.values.min() == -5000)
    #expect(curve.points.first?.step == 1 && curve.points.last?.step == count)
    #expect(zip(curve.points, curve.points.dropFirst()).allSatisfy { $0.step < $1.step })
  }

  @Test func `a gap longer than a stretch stays one`() {
    let values = (0..<100_000).map { (40_000..<45_000).contains($0) ? Double.nan : 1 }
    let thinned = Self.curve(values).thinned()
    #expect(thinned.points.contains { $0.value.isNaN })
    var points = Self.curve(values).points
    points.removeSubrange(40_000..<45_000)
    let gapped = Curve("c", style: "", points).withGaps
    #expect(gapped.points.count == points.count + 1)
    #expect(gapped.points.filter { $0.value.isNaN }.map { (40_000..<45_002).contains($0.step) } == [true])
    // What is only ever measured now and then has no gaps.
    let rare = Curve("c", style: "", (1...20).map { Curve.Point(step: $0 * 100, value: 1) })
    #expect(rare.withGaps.points.count == 20)
  }

  @Test func `a smoothed curve keeps a slope and its ends, and passes over what is no number`() {
    let slope = Self.curve((0..<50).map { Double($0) }).smoothed("s", style: "", over: 3)
    #expect(slope.points.allSatisfy { abs($0.value - Double($0.step - 1)) < 1e-9 })
    let noise = Self.curve((0..<200).map { $0 % 2 == 0 ? 1 : 3 }).smoothed("s", style: "", over: 10)
    #expect(noise.points[20..<180].allSatisfy { abs($0.value - 2) < 0.02 })
    let hole = Self.curve([2, 2, .nan, 2, .infinity, 2]).smoothed("s", style: "", over: 2)
    #expect(hole.points[1..<5].allSatisfy { $0.value == 2 })
  }

  static let scales: [(values: [Double], isFromZero: Bool, labels: [String])] = [
    ([0.9, 3.3], false, ["1.0", "1.5", "2.0", "2.5", "3.0"]),
    ([0, 100], true, ["0", "20", "40", "60", "80", "100"]),
    ([5100], true, ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]),
    ([0, 2e-5], true, ["0", "5.0e−6", "1.0e−5", "1.5e−5", "2.0e−5"]),
    ([-1, 1], false, ["−1.0", "−0.5", "0", "0.5", "1.0"]),
    ([0], true, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
  ]

  @Test(arguments: scales) func `names on an axis`(values: [Double], isFromZero: Bool, labels: [String]) {
    #expect(ChartScale.linear(values, fromZero: isFromZero).ticks.map(\.label) == labels)
  }

  @Test func `names of steps and of orders of magnitude`() throws {
    #expect(
      ChartScale.steps(to: 400).ticks.map(\.label) == [
        "0", "50", "100", "150", "200", "250", "300", "350", "400",
      ])
    #expect(ChartScale.steps(to: 0).ticks.map(\.label) == ["0", "1"])
    let wide = try #require(ChartScale.logarithmic([0.01, 20, 0, -3]))
    #expect(wide.ticks.map(\.label) == ["0.01", "0.1", "1", "10"])
    #expect(wide.place(of: 0).isNaN && wide.place(of: -1).isNaN && wide.place(of: .nan).isNaN)
    #expect(ChartScale.logarithmic([0, -1]) == nil)
    for values in [
      [Double.leastNonzeroMagnitude, 1e308], [-1e308, 1e308], [1e308], [.leastNonzeroMagnitude], [],
    ] {
      for scale in [ChartScale.linear(values), ChartScale.logarithmic(values)].compactMap(\.self) {
        #expect(scale.ticks.count <= 20 && values.allSatisfy { !scale.place(of: $0).isInfinite })
      }
    }
  }

  // MARK: Maps

  @Test func `a map is the mean over the modules of a layer`() throws {
    var metrics = try ReportPageTests.sample()
    metrics.run.columns = ["a", "b"]
    metrics.run.places = ["model.layers.0.q", "model.layers.0.v", "model.layers.2.q", "lm_head"]
    metrics.run.domains = ["x"]
    metrics.evaluations = [
      EvaluationMetrics(
        step: 5, tokens: 1, nats: 1, isBest: true,
        domains: [
          .init(domain: "y", nats: 1, tokens: 1, weights: [[0.5, .nan], [1, 0.5], [0.25, 0.75]]),
          .init(domain: "x", nats: 1, tokens: 1, weights: []),
        ])
    ]
    let maps = try #require(RoutingMaps(metrics))
    #expect(maps.domains == ["x", "y"] && maps.rows == ["0", "2", "lm_head"] && maps.hasModules)
    let rows = (0..<3).map { row in (0..<2).map { maps.weight(0, domain: 1, row: row, column: $0) } }
    #expect(rows[0] == [0.75, 0.5] && rows[1] == [0.25, 0.75] && rows[2].allSatisfy { $0.isNaN })
    #expect(maps.mean(0, domain: 1, column: 0) == 0.5 && maps.mean(0, domain: 0, column: 0).isNaN)
    #expect(maps.largest == 0.75)
    // 4095 where nothing is known, and the largest weight is 4094.
    #expect(maps.data["weights"]?.array?.first?.string?.hasPrefix("/////////////+") == true)
  }

  @Test func `texts of a duration`() {
    let texts = [0, 2.64, 48, 59.7, 312, 3599.6, 11_045, 190_000, -1, .nan, .infinity].map {
      duration(seconds: $0)
    }
    #expect(
      texts == [
        "0.0 s", "2.6 s", "48 s", "1 min 00 s", "5 min 12 s", "1 h 00 min", "3 h 04 min", "2 d 4 h", "–", "–",
        "–",
      ])
  }
}
