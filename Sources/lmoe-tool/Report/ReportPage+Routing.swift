import LMoECore

extension ReportPage {
  /// The most experts whose maps are open at first.
  private static let open = 12
  /// The shades of a map.
  static let shades = 12

  /// How the gate divides each kind of text among the experts, before and after.
  var routingSection: String {
    guard let maps else { return "" }
    let sides = maps.steps.count > 1 ? [0, maps.steps.count - 1] : [0]
    let tables = sides.enumerated().map { table(maps, side: $0.offset, evaluation: $0.element) }.joined()
    return Self.section(
      "Routing",
      "Mean weight of each expert by kind of text" + (sides.count > 1 ? ", before and after" : "")
        + ". Deepest colour: \(formatted(Double(maps.largest), digits: 2)).",
      slider(maps) + "<div class=\"mixes\">\n\(tables)</div>\n" + layers(maps, sides)
        + "<p class=\"caption\" id=\"cell\" aria-live=\"polite\"></p>\n")
  }

  /// Chooses the evaluation of the right side.
  private func slider(_ maps: RoutingMaps) -> String {
    guard maps.steps.count > 2 else { return "" }
    return """
      <label class="moment">Right: after step <output id="step">\(grouped(maps.steps.last ?? 0))</output>\
      <input type="range" id="moment" min="0" max="\(maps.steps.count - 1)" \
      value="\(maps.steps.count - 1)"></label>

      """
  }

  private func title(_ maps: RoutingMaps, _ evaluation: Int) -> String {
    let step = maps.steps[evaluation]
    return step == 0 ? "before the first step" : "after step \(grouped(step))"
  }

  private func shortTitle(_ maps: RoutingMaps, _ evaluation: Int) -> String {
    "step \(grouped(maps.steps[evaluation]))"
  }

  /// Kinds of text by experts, over all layers.
  private func table(_ maps: RoutingMaps, side: Int, evaluation: Int) -> String {
    let hasNumbers = maps.width <= 8
    let heads = (0..<maps.width).map {
      "<th scope=\"col\" class=\"k\($0)\"><span><bdi>\(names[$0].html)</bdi></span></th>"
    }.joined()
    let rows = maps.domains.indices.map { domain in
      let cells = (0..<maps.width).map { column in
        let mean = Double(maps.mean(evaluation, domain: domain, column: column))
        let size = maps.largest > 0 ? abs(mean) / Double(maps.largest) : 0
        let text = hasNumbers && mean.isFinite ? RoutingPage.weight(mean) : ""
        return "<td class=\"k\(column)\" style=\"--a:\(HTMLPage.fraction(size))\">\(text)</td>"
      }.joined()
      return "<tr><th scope=\"row\"><bdi>\(maps.domains[domain].html)</bdi></th>\(cells)</tr>\n"
    }.joined()
    return """
      <table class="mix\(hasNumbers ? "" : " many")" data-side="\(side)">
      <caption>\(title(maps, evaluation))</caption>
      <thead><tr><td></td>\(heads)</tr></thead>
      <tbody>
      \(rows)</tbody></table>

      """
  }

  /// A map for each expert: kinds of text by layers.
  private func layers(_ maps: RoutingMaps, _ sides: [Int]) -> String {
    guard maps.rows.count > 1 else { return "" }
    let figures = (0..<maps.width).map { map(maps, sides, column: $0) }
    let kind = maps.domains.count <= 12 ? "" : maps.domains.count <= 30 ? " dense" : " bare"
    func group(_ figures: ArraySlice<String>) -> String {
      "<div class=\"maps\(kind)\" style=\"--rows:\(maps.domains.count)\">\n\(figures.joined())</div>\n"
    }
    let rest = figures.dropFirst(Self.open)
    return "<h3>By layer</h3>\n" + group(figures.prefix(Self.open))
      + (rest.isEmpty
        ? "" : "<details><summary>\(rest.count) experts more</summary>\n\(group(rest))</details>\n")
  }

  private func map(_ maps: RoutingMaps, _ sides: [Int], column: Int) -> String {
    let labels = maps.domains.map { "<span><bdi>\($0.html)</bdi></span>" }.joined()
    let drawings = sides.enumerated().map { side, evaluation in
      drawing(maps, side: side, evaluation: evaluation, column: column)
    }.joined()
    let axes = sides.map { _ in axis(maps) }.joined()
    let heads = sides.map { "<em>\(shortTitle(maps, $0))</em>" }.joined()
    return """
      <figure class="map k\(column)" data-column="\(column)">
      <figcaption><i class="swatch"></i><bdi>\(names[column].html)</bdi></figcaption>
      <div class="pair sides\(sides.count)"><i></i>\(heads)<div class="names">\(labels)</div>\(drawings)\
      <b>layer</b>\(axes)</div>
      </figure>

      """
  }

  private func drawing(_ maps: RoutingMaps, side: Int, evaluation: Int, column: Int) -> String {
    var paths = [String](repeating: "", count: Self.shades)
    for domain in maps.domains.indices {
      var start = 0
      while start < maps.rows.count {
        let shade = shade(maps.weight(evaluation, domain: domain, row: start, column: column), maps)
        var end = start + 1
        while end < maps.rows.count,
          self.shade(maps.weight(evaluation, domain: domain, row: end, column: column), maps) == shade
        {
          end += 1
        }
        if shade > 0 { paths[shade - 1] += "M\(start) \(domain)h\(end - start)v1h-\(end - start)z" }
        start = end
      }
    }
    let shades = paths.enumerated().map { "<path class=\"l\($0.offset + 1)\" d=\"\($0.element)\"/>" }.joined()
    let lines =
      (1..<max(2, maps.rows.count)).map { "M\($0) 0v\(maps.domains.count)" }.joined()
      + (1..<max(2, maps.domains.count)).map { "M0 \($0)h\(maps.rows.count)" }.joined()
    return """
      <svg data-side="\(side)" viewBox="0 0 \(maps.rows.count) \(maps.domains.count)" \
      preserveAspectRatio="none" role="img" aria-label="Weights of \(names[column].html) \
      \(title(maps, evaluation)), by kind of text and layer">\(shades)<path class="gaps" d="\(lines)"/></svg>
      """
  }

  private func shade(_ weight: Float, _ maps: RoutingMaps) -> Int {
    guard weight.isFinite, maps.largest > 0 else { return 0 }
    return Int((min(1, abs(weight) / maps.largest) * Float(Self.shades)).rounded())
  }

  private func axis(_ maps: RoutingMaps) -> String {
    let count = maps.rows.count
    let step = [1, 2, 5, 10, 20, 50, 100].first { count / $0 <= 5 } ?? count
    let labels = stride(from: 0, to: count, by: step).map { index in
      let place = formatted((Double(index) + 0.5) / Double(count) * 100, digits: 2)
      return "<span style=\"left:\(place)%\">\(PlaceGrid.label(maps.rows[index]).html)</span>"
    }.joined()
    return "<div class=\"xs\" aria-hidden=\"true\">\(labels)</div>"
  }
}
