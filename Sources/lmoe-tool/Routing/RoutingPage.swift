/// A page that shows the routing of a text: one HTML file that needs nothing else.
///
/// The text, its colours, the legend and the means are there without a script; the script shows the weights of
/// single tokens.
struct RoutingPage {
  let trace: RoutingTrace
  /// The weights of each token, in brief.
  let routings: [TokenRouting]
  /// The weights of all tokens, in brief.
  let summary: RoutingSummary
  /// Where the gates decide.
  let grid: PlaceGrid
  /// The largest weight there is, without its sign.
  let largest: Float
  /// Whether the mean weights of some token are negative.
  let isSigned: Bool

  /// Makes the page of a trace.
  init(_ trace: RoutingTrace) {
    self.trace = trace
    routings = trace.tokens.map { TokenRouting($0.weights) }
    var summary = RoutingSummary(width: trace.columns.count)
    for routing in routings { summary.add(routing) }
    self.summary = summary
    grid = PlaceGrid(trace.places)
    var largest: Float = 0
    for token in trace.tokens {
      for row in token.weights {
        for weight in row where weight.isFinite { largest = max(largest, abs(weight)) }
      }
    }
    self.largest = largest
    isSigned = routings.contains { routing in routing.means.contains { $0 < 0 } }
  }

  /// What a full bar stands for.
  var fullBar: Float { max(1, largest) }

  /// The page.
  func html() -> String {
    HTMLPage(
      title: trace.title + ": routing", style: Self.style + HTMLPage.colours(of: trace.columns),
      body: header + ribbon + legend + "<main>\n" + text + panel + "</main>\n" + notes, data: data,
      script: Self.script
    ).html
  }
}

extension RoutingPage {
  /// A weight for a reader, two decimals.
  static func weight(_ value: Double) -> String {
    formatted(value, digits: 2).replacing("-", with: "−")
  }
}
