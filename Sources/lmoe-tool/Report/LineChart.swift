import LMoECore

/// Curves over the steps of a run, as a figure of a page.
///
/// What is drawn is there without a script; the script shows the numbers at a step.
struct LineChart {
  /// A level line: what was before the run.
  struct Level {
    let value: Double
    let name: String
  }

  /// What its figure is known by to the script.
  let id: String
  /// What it shows, as text.
  let title: String
  /// What stands beside the title, as HTML: the last number, say.
  var note = ""
  /// The curves, the last one on top.
  let curves: [Curve]
  /// The steps of the run.
  let steps: ChartScale
  /// Whether the axis begins at 0.
  var isFromZero = false
  /// What a number may be at most, as a whole axis of its own: 0…1 for a share.
  var fixedRange: ClosedRange<Double>?
  /// Whether there is a logarithmic axis to choose; nil without, and else whether it is chosen at first.
  var logarithmic: Bool?
  /// What was before the run.
  var level: Level?
  /// Further classes of the figure.
  var style = ""
  /// Lines across the plot, as SVG.
  var marks = ""
  /// A part of a larger figure has no names of curves.
  var hasLegend = true

  /// The height of the drawing; the width is 1000, whatever the room.
  static let height = 100.0

  /// The figure.
  func html() -> String {
    let values = curves.flatMap(\.values) + (level.map { [$0.value] } ?? [])
    guard !values.isEmpty else { return "" }
    let linear: ChartScale =
      if let fixedRange {
        ChartScale(
          range: fixedRange, isLogarithmic: false,
          ticks: ChartScale.linear(
            [fixedRange.lowerBound, fixedRange.upperBound], count: style.isEmpty ? 4 : 2, fromZero: true
          ).ticks.filter { fixedRange.contains($0.value) })
      } else {
        ChartScale.linear(values, count: style.isEmpty ? 4 : 3, fromZero: isFromZero)
      }
    let other = logarithmic == nil ? nil : ChartScale.logarithmic(values)
    return """
      <figure class="chart \(style)" data-chart="\(id.html)">
      <figcaption><h3><bdi>\(title.html)</bdi></h3><span class="note">\(note)</span>\
      \(toggle(other))<output></output></figcaption>
      <div class="plot">\(layer(linear, other == nil ? "" : "linear"))\(other.map { layer($0, "log") } ?? "")\
      <i class="cursor" hidden></i></div>
      \(Self.axis(steps))\(hasLegend ? legend : "")</figure>

      """
  }

  private func toggle(_ scale: ChartScale?) -> String {
    guard scale != nil else { return "" }
    return "<label class=\"toggle\"><input type=\"checkbox\"\(logarithmic == true ? " checked" : "")> "
      + "logarithmic</label>"
  }

  /// The names of the curves, if there is more than one.
  private var legend: String {
    guard curves.count > 1 else { return "" }
    let items = curves.map { curve in
      "<li class=\"\(curve.style)\"><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path d=\"M1 4H23\"/></svg>"
        + "<bdi>\(curve.name.html)</bdi></li>"
    }.joined()
    return "<ul class=\"lines\">\(items)</ul>\n"
  }

  private func layer(_ scale: ChartScale, _ kind: String) -> String {
    var grid = ""
    var labels = ""
    for tick in scale.ticks {
      let place = 1 - scale.place(of: tick.value)
      guard (-0.001...1.001).contains(place) else { continue }
      grid += "M0 \(Self.coordinate(place * Self.height))H1000"
      labels += "<span style=\"top:\(formatted(place * 100, digits: 1))%\">\(tick.label)</span>"
    }
    let lines = curves.map { curve in
      "<path class=\"\(curve.style)\" d=\"\(path(curve, scale))\"/>"
    }.joined(separator: "\n")
    return """
      <div class="layer \(kind)"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">
      <path class="grid" d="\(grid)"/>
      \(marks)\(levelLine(scale))\(lines)
      </svg><div class="ys" aria-hidden="true">\(labels)</div></div>
      """
  }

  private func levelLine(_ scale: ChartScale) -> String {
    guard let level else { return "" }
    let place = scale.place(of: level.value)
    guard place.isFinite else { return "" }
    return "<path class=\"level\" d=\"M0 \(Self.coordinate((1 - place) * Self.height))H1000\"/>\n"
  }

  private func path(_ curve: Curve, _ scale: ChartScale) -> String {
    var path = ""
    var isOpen = false
    let isDots = curve.style.utf8.split(separator: UInt8(ascii: " ")).contains {
      $0.elementsEqual("dots".utf8)
    }
    for (index, point) in curve.points.enumerated() {
      let place = scale.place(of: point.value)
      guard place.isFinite else {
        isOpen = false
        continue
      }
      let x = Self.coordinate(steps.place(of: Double(point.step)) * 1000)
      let y = Self.coordinate((1 - max(-0.02, min(1.02, place))) * Self.height)
      path += "\(isOpen && !isDots ? "L" : "M")\(x) \(y)"
      // A point between gaps would have no line.
      let isLast = index + 1 == curve.points.count || !curve.points[index + 1].value.isFinite
      if isDots || (!isOpen && isLast) { path += "h0" }
      isOpen = true
    }
    return path
  }

  /// The steps below a plot.
  static func axis(_ steps: ChartScale) -> String {
    let labels = steps.ticks.map { tick in
      let place = steps.place(of: tick.value) * 100
      return "<span style=\"left:\(formatted(place, digits: 2))%\">\(tick.label)</span>"
    }.joined()
    return "<div class=\"xs\" aria-hidden=\"true\">\(labels)</div>\n"
  }

  /// A coordinate with one decimal at most.
  static func coordinate(_ value: Double) -> String {
    let text = formatted(value, digits: 1)
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }

  /// What the script needs: the points of each curve.
  var data: JSON {
    [
      "id": .string(id),
      "curves": .array(
        curves.filter { !$0.name.isEmpty }.map { curve in
          [
            "name": .string(curve.name.printable), "x": .array(curve.points.map { .integer($0.step) }),
            "y": .array(curve.points.map { Self.short($0.value) }),
          ]
        }),
    ]
  }

  /// A number with five significant digits; null if it is not finite.
  static func short(_ value: Double) -> JSON {
    guard value.isFinite, value != 0 else { return .double(value) }
    var factor = 1.0
    var size = abs(value)
    guard (1e-30..<1e30).contains(size) else { return .double(value) }
    while size < 10_000 { (size, factor) = (size * 10, factor * 10) }
    return .double(size >= 100_000 ? value.rounded() : (value * factor).rounded() / factor)
  }
}
