import LMoECore
import LMoERuntime

extension ReportPage {
  /// What was run, and what came of it.
  var header: String {
    let list = figures.map { name, value, detail in
      "<div><dt>\(name)</dt><dd>\(value)</dd><dd class=\"detail\">\(detail)</dd></div>\n"
    }.joined()
    return """
      <header>
      <h1><bdi>\(fileName.html)</bdi></h1>
      <p class="what">\(summary.html)</p>
      <dl class="figures">
      \(list)</dl>
      </header>

      """
  }

  private var summary: String {
    let what =
      switch metrics.run.trains {
      case .both: "Gate and experts trained"
      case .gate: "Gate trained"
      case .experts: metrics.run.experts.count == 1 ? "Expert trained" : "Experts trained"
      }
    let began = metrics.run.time.isEmpty ? "" : ", begun \(metrics.run.time)"
    return what + began + ". " + state
  }

  /// How far the run came.
  private var state: String {
    let steps = grouped(metrics.steps.last?.step ?? 0)
    let planned = metrics.run.steps
    let end = metrics.events.last { $0.kind == .end || $0.kind == .resumed }
    if let end, end.kind == .end {
      return end.message.isEmpty ? "Ended after step \(steps)." : "Ended after step \(steps): \(end.message)."
    }
    return planned.map { "Not ended: step \(steps) of \(grouped($0))." } ?? "Not ended: step \(steps)."
  }

  /// Names, numbers and what is to be said of them, as HTML.
  private var figures: [(String, String, String)] {
    var result: [(String, String, String)] = []
    let losses = metrics.steps.map(\.loss).filter { $0.isFinite }
    if let first = losses.first {
      let count = max(1, min(50, losses.count / 20))
      let last = losses.suffix(count).reduce(0, +) / Double(count)
      let detail = count > 1 ? "nats a token, at last the mean of \(count) steps" : "nats a token"
      result.append(("Loss", "\(Self.nats(first)) → \(Self.nats(last))", detail))
    }
    if let best = best {
      let start = metrics.evaluations.first.flatMap { $0.step < best.step ? $0 : nil }
      let before = start.map { ", \(Self.nats($0.nats)) at step \(grouped($0.step))" } ?? ""
      result.append(("Best evaluation", Self.nats(best.nats), "at step \(grouped(best.step))\(before)"))
    }
    if let last = metrics.steps.last {
      result.append(
        (
          "Tokens", formatted(count: last.tokens),
          last.targets > 0 ? "\(formatted(count: last.targets)) of them scored" : ""
        ))
      if last.seconds.isFinite {
        result.append(("Time", duration(seconds: last.seconds), "in \(grouped(last.step)) steps"))
      }
    }
    let speeds = metrics.steps.map(\.tokensPerSecond).filter { $0.isFinite }.sorted()
    if !speeds.isEmpty {
      let median = speeds[speeds.count / 2]
      result.append(("Speed", "\(Self.whole(median))", "tokens/s in the median"))
    }
    return result
  }

  /// The best evaluation: the one that the run called so last, or the one of the fewest nats.
  var best: EvaluationMetrics? {
    metrics.evaluations.last { $0.isBest && $0.nats.isFinite }
      ?? metrics.evaluations.filter { $0.nats.isFinite }.min { $0.nats < $1.nats }
  }

  /// A number without decimals: `5,100`.
  static func whole(_ value: Double) -> String {
    abs(value) < 1e15 ? grouped(Int(value.rounded())) : significant(value)
  }

  /// How to read the page.
  var notes: String {
    var notes = ["Losses are in nats a token."]
    if metrics.steps.count > Curve.limit {
      notes.append(
        "Of long runs the smallest and the largest number of each stretch of steps are drawn.")
    }
    if maps != nil {
      notes.append(
        "A weight in the routing is the mean over the tokens of a kind of text at an evaluation"
          + ((maps?.hasModules ?? false) ? ", and over the modules of a layer." : "."))
    }
    if metrics.run.columns.count(where: { !$0.isEmpty }) > ExpertPalette.count {
      notes.append("Colours come again after \(ExpertPalette.count) experts.")
    }
    return "<footer>\(notes.joined(separator: " "))</footer>\n"
  }
}
