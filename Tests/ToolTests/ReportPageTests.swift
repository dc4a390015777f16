import LMoECore
import LMoERuntime
import Testing

@testable import lmoe_tool

/// The page about a training run.
@Suite struct ReportPageTests {
  static let path = "\(Tool.fixtures)/metrics/village.lmoe.metrics.jsonl"

  static func sample() throws -> TrainingMetrics {
    try TrainingMetrics(path: "m", bytes: try readWhole(path))
  }

  private static func data(of page: String) throws -> JSON {
    let bytes = Array(page.utf8)
    let first = try #require(bytes.firstRange(of: Array("id=\"data\">".utf8)))
    let rest = bytes[first.upperBound...]
    let last = try #require(rest.firstRange(of: Array("</script>".utf8)))
    return try JSON(parsing: Array(rest[..<last.lowerBound]))
  }

  @Test func `a page`() throws {
    let metrics = try Self.sample()
    let page = ReportPage(metrics).html()
    for part in [
      "<h1><bdi>village.lmoe</bdi></h1>", "Gate and experts trained, begun 2026-11-21 15:00:12.",
      "Ended after step 60: all steps taken.", "<dd>246 K</dd>", "156 K of them scored",
      "tokens/s in the median", "data-chart=\"loss\"", "data-chart=\"rates\"", "data-chart=\"norm\"",
      "data-chart=\"speed\"", "<h3><bdi>Load balance</bdi></h3>", "data-chart=\"domain3\"",
      "<h3><bdi>general</bdi></h3>", "data-chart=\"use\"", "data-chart=\"entropy\"",
      "<caption>before the first step</caption>", "<caption>after step 60</caption>", "id=\"moment\"",
      "<th scope=\"row\"><i class=\"swatch k2\"></i><bdi>verse</bdi></th><td>8</td><td>113 K</td>"
        + "<td class=\"left\">new</td>",
      "<dt>Score</dt><dd><bdi>linear</bdi></dd>", "<dt>schedule</dt><dd><bdi>cosine</bdi></dd>",
      "checkpoint (the last of 3)", "<bdi>the gradient&#39;s norm is 21.3; the step was clipped</bdi>",
      "class=\"mark warning\"", "class=\"mark resumed\"", "<path class=\"level\"",
    ] {
      #expect(page.contains(part), "\(part)")
    }
    let best = try #require(metrics.evaluations.last)
    #expect(page.contains("<b>\(formatted(best.nats, digits: 3))</b> at step 60"))
    #expect(page == ReportPage(metrics).html())
    #expect(page.utf8.count < 150_000)
  }

  @Test func `the script gets what was measured`() throws {
    let metrics = try Self.sample()
    let data = try Self.data(of: ReportPage(metrics).html())
    #expect(data["last"]?.int == 60)
    #expect(data["names"]?.array?.compactMap(\.string) == ["arithmetic", "sql", "verse", "base"])
    let loss = try #require(data["charts"]?.array?.first { $0["id"]?.string == "loss" })
    let curves = try #require(loss["curves"]?.array)
    #expect(curves.map { $0["name"]?.string } == ["loss", "smoothed"])
    let raw = try #require(curves[0]["y"]?.array)
    #expect(curves[0]["x"]?.array?.compactMap(\.int) == Array(1...60) && raw.count == 60)
    // The one that was not finite is a gap, and its neighbours' mean goes on.
    #expect(raw[36].isNull && curves[1]["y"]?.array?[36].double != nil)
    for (step, json) in zip(metrics.steps, raw) where step.loss.isFinite {
      #expect(abs((json.double ?? .nan) - step.loss) < 1e-4)
    }
    #expect(data["use"]?["shares"]?.array?.count == 60)
    let maps = try #require(data["maps"])
    #expect(maps["steps"]?.array?.compactMap(\.int) == [0, 20, 40, 60])
    #expect(maps["weights"]?.array?.allSatisfy { $0.string?.utf8.count == 4 * 4 * 4 * 2 } == true)
  }

  @Test func `it needs nothing from elsewhere`() throws {
    let page = ReportPage(try Self.sample()).html()
    for word in ["http:", "https:", "src=", "url(", "@import", "<link", "fetch(", "innerHTML"] {
      #expect(!page.contains(word), "\(word)")
    }
  }

  private static func count(_ part: String, in page: String) -> Int {
    var rest = Array(page.utf8)[...]
    var count = 0
    while let range = rest.firstRange(of: Array(part.utf8)) {
      count += 1
      rest = rest[range.upperBound...]
    }
    return count
  }

  /// A run in which every text is `text`.
  private static func run(of text: String) -> TrainingMetrics {
    let run = RunMetrics(
      time: text, bundle: text, trains: .both,
      experts: [.init(name: text, rank: 1, parameters: 1, isNew: true, isTrained: true)],
      gate: .init(
        name: text, score: text, scope: text, normaliser: text, k: 1, temperature: 1, parameters: 1,
        isTrained: true, isNew: true),
      domains: [text, "d"], columns: [text, ""],
      places: [text, "model.layers.0.\(text)", "model.layers.1.m"],
      options: [.init(text, .string(text)), .init("o", [JSON.string(text)])], steps: 1)
    let weights: [[Float]] = [[0.5, 0.5], [1, 0], [0.25, 0.75]]
    let step = StepMetrics(
      step: 1, tokens: 1, targets: 1, seconds: 1, loss: 1, auxiliary: [.init(text, 1), .init("x", 2)],
      gradientNorm: 1, rates: [.init(text, 1), .init("y", 2)], tokensPerSecond: 1, use: [0.5, 0.5], entropy: 1
    )
    return TrainingMetrics(
      run: run, steps: [step],
      evaluations: [0, 1].map { step in
        EvaluationMetrics(
          step: step, tokens: 1, nats: 1, isBest: true,
          domains: [text, "d"].map { .init(domain: $0, nats: 1, tokens: 1, weights: weights) })
      },
      events: EventMetrics.Kind.allCases.map { EventMetrics($0, step: 1, message: text) })
  }

  @Test(arguments: RoutingPageTests.hostile) func `hostile texts everywhere`(text: String) throws {
    let plain = ReportPage(Self.run(of: "c")).html()
    let page = ReportPage(Self.run(of: text)).html()
    for mark in ["<script", "</script", "<style", "</style", "<img", "<!--", "<bdi", "<svg", " onerror"] {
      // What is escaped has no tags; the words of an attribute are harmless where they are text.
      if mark.hasPrefix("<") { #expect(Self.count(mark, in: page) == Self.count(mark, in: plain), "\(mark)") }
    }
    for scalar in page.unicodeScalars where scalar.value < 0x20 && scalar != "\n" {
      Issue.record("\(scalar.value)")
    }
    #expect(!page.unicodeScalars.contains { [0x2028, 0x2029, 0x202E].contains($0.value) })
    #expect(try Self.data(of: page)["maps"]?["domains"]?.array?.first?.string == text.printable)
  }

  // MARK: Odd runs

  private static func read(_ lines: [String]) throws -> TrainingMetrics {
    try TrainingMetrics(path: "m", bytes: Array((lines.joined(separator: "\n") + "\n").utf8))
  }

  private static let runLine =
    #"{"schema":1,"kind":"run","bundle":"/a/b.lmoe","trains":"gate","columns":["a",""],"#
    + #""places":["global"],"steps":100}"#

  static let odd: [(name: String, lines: [String], parts: [String])] = [
    ("nothing yet", [], ["No step has been taken.", "No gate took part.", "Not ended: step 0 of 100."]),
    ("one step", [#"{"kind":"step","step":1,"loss":2,"use":[1,0]}"#], ["Not ended: step 1 of 100."]),
    (
      "nothing finite",
      [
        #"{"kind":"step","step":1,"loss":null,"gradientNorm":1e999,"use":[null,null],"entropy":null}"#,
        #"{"kind":"evaluation","step":1,"nats":null,"domains":[{"domain":"d","weights":[[null,null]]}]}"#,
      ], ["b.lmoe"]
    ),
    (
      "rows of other lengths",
      [
        #"{"kind":"step","step":1,"loss":1,"use":[1]}"#,
        #"{"kind":"evaluation","step":1,"nats":1,"domains":[{"domain":"d","weights":[[1],[1,2,3],[],[4]]}]}"#,
      ], ["after step 1"]
    ),
    (
      "immense numbers",
      [
        #"{"kind":"step","step":1,"loss":1e308,"gradientNorm":5e-324,"tokensPerSecond":1e300,"seconds":1e300}"#,
        #"{"kind":"step","step":9223372036854775807,"tokens":9223372036854775807,"loss":-1e308,"#
          + #""gradientNorm":1e308,"tokensPerSecond":1e300,"seconds":1e300}"#,
        #"{"kind":"evaluation","step":9223372036854775807,"nats":1e308,"domains":[]}"#,
        #"{"kind":"warning","step":9223372036854775807,"message":"x"}"#,
      ], ["9,223,372,036,854,775,807"]
    ),
    (
      "weights of any sign",
      [#"{"kind":"evaluation","step":0,"nats":1,"domains":[{"domain":"d","weights":[[-3,1]]}]}"#],
      ["−3.00", "Deepest colour: 3.00"]
    ),
    (
      "events alone", [#"{"kind":"warning","step":7,"message":"w"}"#, #"{"kind":"end","step":7}"#],
      ["Ended after step 0."]
    ),
  ]

  @Test(arguments: odd) func `odd runs`(name: String, lines: [String], parts: [String]) throws {
    let page = ReportPage(try Self.read([Self.runLine] + lines)).html()
    for part in parts { #expect(page.contains(part), "\(name): \(part)") }
    for word in ["nan", "inf"] {
      #expect(!page.replacing(ReportPage.script, with: "").contains("\"\(word)"), "\(name)")
    }
    #expect(!page.contains("Mnan") && !page.contains("Lnan") && !page.contains(" nan"), "\(name)")
    _ = try Self.data(of: page)
  }

  @Test func `a run without a gate`() throws {
    let page = ReportPage(
      try Self.read([
        #"{"schema":1,"kind":"run","bundle":"b","trains":"experts","experts":[{"name":"e"}],"gate":null}"#,
        #"{"kind":"step","step":1,"loss":2}"#, #"{"kind":"step","step":2,"loss":1}"#,
      ])
    ).html()
    #expect(page.contains("Expert trained") && page.contains("data-chart=\"loss\""))
    for part in ["Use of the experts", "<h2>Routing", "class=\"mix", "data-chart=\"entropy\""] {
      #expect(!page.contains(part), "\(part)")
    }
  }

  @Test func `many experts, kinds of text and places`() throws {
    let columns = (0..<64).map { "e\($0)" }
    let places = (0..<30).flatMap { layer in (0..<7).map { "model.layers.\(layer).m\($0)" } }
    let domains = (0..<30).map { "d\($0)" }
    let weights = places.indices.map { place in columns.indices.map { Float($0 == place % 64 ? 1 : 0) } }
    let metrics = TrainingMetrics(
      run: RunMetrics(
        time: "", bundle: "b", trains: .gate, experts: [], gate: nil, domains: domains, columns: columns,
        places: places, options: [], steps: nil), steps: [],
      evaluations: (0..<30).map { step in
        EvaluationMetrics(
          step: step, tokens: 1, nats: 1, isBest: false,
          domains: domains.map { .init(domain: $0, nats: 1, tokens: 1, weights: weights) })
      }, events: [])
    let page = ReportPage(metrics).html()
    #expect(page.utf8.count < 6_000_000)
    #expect(page.contains("52 experts more"))
    let steps = try #require(try Self.data(of: page)["maps"]?["steps"]?.array?.compactMap(\.int))
    #expect(steps.first == 0 && steps.last == 29 && steps.count == 26)
  }
}
