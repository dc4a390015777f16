import LMoECore

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
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="\(Self.policy)">
    <title>\(trace.title.html): routing</title>
    <style>
    \(Self.style)\(colours)</style>
    </head>
    <body>
    \(header)\(ribbon)\(legend)<main>
    \(text)\(panel)</main>
    \(notes)<script type="application/json" id="data">\(data.script)</script>
    <script>
    \(Self.script)</script>
    </body>
    </html>

    """
  }

  /// Nothing is fetched and nothing sent, whatever is in the text.
  private static let policy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    + "form-action 'none'"

  /// The colour and the line of each column.
  private var colours: String {
    let lines = ["solid", "dashed", "dotted", "double"]
    return ExpertPalette.numbers(of: trace.columns).enumerated().map { column, number in
      guard let number else { return ".k\(column){--c:var(--base);--u:solid}\n" }
      // Colours come again with another line.
      let line = lines[(number + number / ExpertPalette.count) % lines.count]
      return ".k\(column){--c:\(ExpertPalette.page[number % ExpertPalette.count]);--u:\(line)}\n"
    }.joined()
  }
}

extension RoutingPage {
  /// A number from 0 to 1 for a style: `.43`.
  static func fraction(_ value: Double) -> String {
    guard value.isFinite, value > 0 else { return "0" }
    guard value < 0.995 else { return "1" }
    return String(formatted(value, digits: 2).dropFirst())
  }

  /// A weight for a reader, two decimals.
  static func weight(_ value: Double) -> String {
    formatted(value, digits: 2).replacing("-", with: "−")
  }

  /// `41 %`.
  static func percent(_ share: Double) -> String { formatted(share * 100, digits: 0) + " %" }
}
