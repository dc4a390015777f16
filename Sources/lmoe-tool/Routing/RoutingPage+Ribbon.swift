import LMoECore

extension RoutingPage {
  /// The whole text in one band: a step for each token, divided among the experts.
  var ribbon: String {
    guard summary.tokenCount > 0 else { return "" }
    var bounds = [[Int]](
      repeating: Array(repeating: 0, count: trace.columns.count + 1), count: routings.count)
    for (index, routing) in routings.enumerated() {
      let total = routing.means.reduce(0) { $0 + Double(abs($1)) }
      guard total > 0 else { continue }
      var sum = 0.0
      for (column, mean) in routing.means.prefix(trace.columns.count).enumerated() {
        sum += Double(abs(mean))
        bounds[index][column + 1] = Int((sum / total * 100).rounded())
      }
    }
    let paths = trace.columns.indices.filter { !trace.columns[$0].isEmpty }.map { column in
      "<path class=\"k\(column)\" d=\"\(Self.area(bounds, column))\"/>\n"
    }.joined()
    let width = max(1, routings.count)
    return """
      <div class="ribbon" id="ribbon" aria-hidden="true">
      <svg viewBox="0 0 \(width) 100" preserveAspectRatio="none">
      \(paths)</svg>
      <i id="cursor" hidden></i>\(promptMark)
      </div>

      """
  }

  private var promptMark: String {
    let prompt = trace.promptCount
    guard prompt > 0, prompt < trace.tokens.count else { return "" }
    let place = formatted(Double(prompt) / Double(trace.tokens.count) * 100, digits: 2)
    return "<b style=\"left:\(place)%\"></b>"
  }

  /// The outline of a column's part: along its lower bound and back along its upper one.
  private static func area(_ bounds: [[Int]], _ column: Int) -> String {
    var path = ""
    for (start, end, step) in [(0, bounds.count, 1), (bounds.count - 1, -1, -1)] {
      var height: Int?
      for index in stride(from: start, to: end, by: step) {
        let next = 100 - bounds[index][step > 0 ? column : column + 1]
        let x = step > 0 ? index : index + 1
        if next != height {
          path += path.isEmpty ? "M\(x) \(next)" : "H\(x)V\(next)"
          height = next
        }
      }
      path += step > 0 ? "H\(bounds.count)" : "H0Z"
    }
    return path
  }
}
