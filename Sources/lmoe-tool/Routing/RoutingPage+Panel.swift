import LMoECore

extension RoutingPage {
  /// The weights by expert and layer: of all tokens, and of one where the script shows it.
  var panel: String {
    guard summary.tokenCount > 0 else { return "" }
    let kinds = [
      (isSigned, "signed"), (trace.columns.count > 6, "many"), (grid.layers.count > 40, "fine"),
    ]
    let experts = trace.columns.indices.map(expert).joined()
    return """
      <aside id="panel" class="\(kinds.filter(\.0).map(\.1).joined(separator: " "))">
      <div class="head"><h2 id="what" aria-live="polite">All tokens</h2><p id="where">mean weights</p>\
      <button type="button" id="close" aria-label="Back to all tokens">×</button></div>
      <div class="experts\(grid.modules.count > 1 ? " modules" : "")" style="--layers:\(max(1, grid.layers.count))">
      \(experts)\(axis)</div>
      \(caption)</aside>

      """
  }

  private func expert(_ column: Int) -> String {
    let mean = summary.mean(column)
    let length = HTMLPage.fraction(abs(mean) / Double(fullBar))
    return """
      <div class="name k\(column)"><i class="swatch"></i><bdi>\(trace.names[column].html)</bdi></div>\
      <div class="bar k\(column)"><i class="\(mean < 0 ? "n" : "")" style="--w:\(length)"></i><s></s></div>\
      <output>\(Self.weight(mean))</output>
      \(heat(column))
      """
  }

  /// The mean weights by layer and module.
  private func heat(_ column: Int) -> String {
    guard !grid.layers.isEmpty else { return "" }
    let means = placeMeans(column)
    let cells = grid.cells.map { $0.map { Self.cell(means[$0], largest) } ?? "<i class=\"x\"></i>" }.joined()
    let others = grid.others.map { "<i class=\"o\(Self.cellAttributes(means[$0], largest))</i>" }.joined()
    let names = grid.layers.indices.map { layer in
      let row = stride(from: layer, to: grid.cells.count, by: grid.layers.count)
      let values = row.compactMap { grid.cells[$0] }.map { means[$0] }
      return "\(grid.layers[layer]): \(Self.weight(values.reduce(0, +) / Double(max(1, values.count))))"
    }.joined(separator: ", ")
    return """
      <div class="rows" aria-hidden="true">\(rowLabels)</div><div class="heat k\(column)" role="img" \
      aria-label="Mean weight of \(trace.names[column].html) in layer \(names)">\(cells)\(others)</div>

      """
  }

  private var rowLabels: String {
    guard grid.modules != [""] || !grid.others.isEmpty else { return "" }
    return (grid.modules.map(PlaceGrid.label) + grid.others.map { PlaceGrid.label(trace.places[$0]) })
      .map { "<span>\($0.html)</span>" }.joined()
  }

  private static func cell(_ mean: Double, _ largest: Float) -> String {
    "<i class=\"\(cellAttributes(mean, largest))</i>"
  }

  private static func cellAttributes(_ mean: Double, _ largest: Float) -> String {
    let size = largest > 0 ? abs(mean) / Double(largest) : 0
    return "\(mean < 0 ? " n" : "")\" style=\"--a:\(HTMLPage.fraction(size))\">"
  }

  /// The mean weight of a column at each place.
  private func placeMeans(_ column: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: trace.places.count)
    var counts = [Int](repeating: 0, count: trace.places.count)
    for token in trace.tokens {
      for (place, row) in token.weights.prefix(sums.count).enumerated()
      where row.indices.contains(column) && row[column].isFinite {
        sums[place] += Double(row[column])
        counts[place] += 1
      }
    }
    return zip(sums, counts).map { $0 / Double(max(1, $1)) }
  }

  /// The layers' numbers below the last expert.
  private var axis: String {
    guard grid.layers.count > 1 else { return "" }
    let step = [1, 2, 5, 10, 20, 50, 100].first { grid.layers.count / $0 <= 7 } ?? grid.layers.count
    let labels = stride(from: 0, to: grid.layers.count, by: step).map { index in
      let place = formatted((Double(index) + 0.5) / Double(grid.layers.count) * 100, digits: 2)
      return "<span style=\"left:\(place)%\">\(grid.layers[index])</span>"
    }.joined()
    return "<div class=\"axis\" aria-hidden=\"true\"><b>layer</b><div>\(labels)</div></div>\n"
  }

  private var caption: String {
    guard !grid.layers.isEmpty else { return "" }
    let modules =
      grid.modules.count > 1
      ? "Rows: \(grid.modules.map(PlaceGrid.label).joined(separator: ", ")). " : ""
    let text = modules + "Deepest colour: \(Self.weight(Double(largest)))."
    return "<p class=\"caption\" id=\"cell\">\(text.html)</p>\n"
  }
}
