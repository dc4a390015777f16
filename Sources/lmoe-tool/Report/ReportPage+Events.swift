import LMoECore
import LMoERuntime

extension ReportPage {
  /// The most events that are listed.
  private static let mostEvents = 200

  /// Lines across a plot where the run was resumed or warned.
  static func marks(_ events: [EventMetrics], _ scale: ChartScale) -> String {
    [EventMetrics.Kind.resumed, .warning].map { kind in
      var last = ""
      var path = ""
      for event in events where event.kind == kind {
        let x = LineChart.coordinate(scale.place(of: Double(event.step)) * 1000)
        // What is at the same place is one line.
        if !x.hasSameBytes(as: last) { path += "M\(x) 0V100" }
        last = x
      }
      return path.isEmpty ? "" : "<path class=\"mark \(kind.rawValue)\" d=\"\(path)\"/>\n"
    }.joined()
  }

  /// What happened, on a time axis of its own.
  var lane: String {
    let present = EventMetrics.Kind.allCases.filter { kind in metrics.events.contains { $0.kind == kind } }
    guard !present.isEmpty else { return "" }
    let signs = present.map { kind in
      // Places are half a percent apart: what shares one is one sign.
      var slots: [Int: [EventMetrics]] = [:]
      for event in metrics.events where event.kind == kind {
        slots[Int(scale.place(of: Double(event.step)) * 200), default: []].append(event)
      }
      return slots.keys.sorted().map { slot in
        let events = slots[slot] ?? []
        guard let first = events.first else { return "" }
        let text = first.message.isEmpty ? "" : ": " + first.message
        let more = events.count > 1 ? ", and \(grouped(events.count - 1)) more" : ""
        let title = "\(kind.rawValue) at step \(grouped(first.step))\(text)\(more)"
        let place = formatted(scale.place(of: Double(first.step)) * 100, digits: 2)
        return "<i class=\"sign \(kind.rawValue)\" style=\"left:\(place)%\" title=\"\(title.html)\"></i>"
      }.joined()
    }.joined()
    let items = present.map { "<li><i class=\"sign \($0.rawValue)\"></i>\($0.rawValue)</li>" }.joined()
    return """
      <div class="lane"><div>\(signs)</div></div>
      <ul class="lines signs">\(items)</ul>

      """
  }

  /// What happened, as a list; of checkpoints only the last.
  var eventSection: String {
    let checkpoints = metrics.events.filter { $0.kind == .checkpoint }
    let others = metrics.events.filter { $0.kind != .checkpoint }
    let listed = (checkpoints.suffix(1) + others.suffix(Self.mostEvents)).enumerated()
      .sorted { ($0.element.step, $0.offset) < ($1.element.step, $1.offset) }.map(\.element)
    guard !listed.isEmpty else { return "" }
    let rows = listed.map { event in
      let count =
        event.kind == .checkpoint && checkpoints.count > 1
        ? " (the last of \(grouped(checkpoints.count)))" : ""
      return """
        <tr><td>\(grouped(event.step))</td><td class="left \(event.kind.rawValue)">\
        <i class="sign \(event.kind.rawValue)"></i>\(event.kind.rawValue)\(count)</td>\
        <td class="left"><bdi>\(event.message.html)</bdi></td></tr>

        """
    }.joined()
    let left = others.count - Self.mostEvents
    let rest = left > 0 ? "<p class=\"none\">And \(grouped(left)) earlier ones.</p>\n" : ""
    return Self.section(
      "Events", "",
      """
      \(rest)<table class="list events">
      <thead><tr><th scope="col">Step</th><th scope="col" class="left">What</th>\
      <th scope="col" class="left">Message</th></tr></thead>
      <tbody>
      \(rows)</tbody></table>

      """)
  }
}
