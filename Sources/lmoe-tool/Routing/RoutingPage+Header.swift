import LMoECore

extension RoutingPage {
  /// What was run.
  var header: String {
    let facts = [
      ("Model", trace.model), ("Weighed by", trace.selection), ("Tokens", tokenCounts),
      ("Decided in", decided),
    ]
    let list = facts.filter { !$0.1.isEmpty }.map { name, value in
      "<div><dt>\(name)</dt><dd><bdi>\(value.html)</bdi></dd></div>\n"
    }.joined()
    return "<header>\n<h1><bdi>\(trace.title.html)</bdi></h1>\n<dl>\n\(list)</dl>\n</header>\n"
  }

  private var tokenCounts: String {
    let prompt = trace.promptCount
    let generated = trace.tokens.count - prompt
    if generated == 0 { return "\(grouped(prompt)) prompt" }
    if prompt == 0 { return "\(grouped(generated)) generated" }
    return "\(grouped(prompt)) prompt, \(grouped(generated)) generated"
  }

  private var decided: String {
    if trace.places.isEmpty { return "" }
    if grid.layers.isEmpty { return "one place" }
    if grid.modules.count == 1, grid.modules[0].isEmpty {
      return "each of \(grouped(grid.layers.count)) layers"
    }
    let modules = trace.places.count
    return "\(grouped(modules)) modules of \(grouped(grid.layers.count)) layers"
  }

  /// The experts, with the part of the tokens for which each is strongest.
  var legend: String {
    guard summary.tokenCount > 0 else { return "<p class=\"none\">No gate decided anything.</p>\n" }
    let items = trace.names.indices.map { column in
      """
      <li class="k\(column)"><button type="button" aria-pressed="false">\
      <i class="swatch"></i><bdi>\(trace.names[column].html)</bdi> \
      <span>\(HTMLPage.percent(summary.lead(column)))</span></button></li>

      """
    }.joined()
    let undecided =
      summary.undecided > 0
      ? "<li class=\"undecided\">undecided <span>\(HTMLPage.percent(summary.undecided))</span></li>\n" : ""
    return """
      <ul class="legend" aria-label="Experts, and the part of the tokens each leads">
      \(items)\(undecided)</ul>

      """
  }

  /// How to read the page.
  var notes: String {
    guard summary.tokenCount > 0 else { return "" }
    var notes = [
      "A token has the colour of the expert with the largest weight, on average over the places where it is "
        + "decided; the deeper the colour, the larger its share. Weights are those with which the model read "
        + "the token. Percentages: of the tokens, those for which an expert is strongest. The mark on a "
        + "token's bar: the mean of all tokens."
    ]
    if trace.columns.contains(where: \.isEmpty) { notes.append("The base alone has no colour.") }
    if isSigned { notes.append("Hatched: a negative weight.") }
    if trace.columns.count(where: { !$0.isEmpty }) > ExpertPalette.count {
      notes.append("Colours come again after \(ExpertPalette.count) experts, with another line.")
    }
    return "<footer>\(notes.joined(separator: " "))</footer>\n"
  }
}
