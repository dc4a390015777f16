import LMoECore
import LMoERuntime

/// How much of each expert each kind of text has in each layer, at some of the evaluations.
struct RoutingMaps {
  /// The most kinds of text and experts that are shown, and the most evaluations.
  private static let mostDomains = 60
  private static let mostColumns = 128
  private static let mostEvaluations = 40
  /// About the most weights that a page carries.
  private static let mostWeights = 1_500_000

  /// The kinds of text.
  let domains: [String]
  /// The layers, and what decides outside of them.
  let rows: [String]
  /// How many experts are shown.
  let width: Int
  /// Whether more than one place of a layer decides.
  let hasModules: Bool
  /// The steps of the evaluations.
  let steps: [Int]
  /// The weights of each evaluation by domain, row and column; NaN for what is not known.
  let weights: [[Float]]
  /// The largest weight, without its sign.
  let largest: Float

  /// Takes the weights of a run; nil if no gate decided anything.
  init?(_ metrics: TrainingMetrics) {
    let decided = metrics.evaluations.filter { $0.domains.contains { !$0.weights.isEmpty } }
    guard !decided.isEmpty, !metrics.run.columns.isEmpty, !metrics.run.places.isEmpty else { return nil }
    let grid = PlaceGrid(metrics.run.places)
    let width = min(metrics.run.columns.count, Self.mostColumns)
    let domains = Array(ReportPage.domains(metrics).prefix(Self.mostDomains))
    rows = grid.layers.map(String.init) + grid.others.map { metrics.run.places[$0] }
    let size = domains.count * rows.count * width
    let count = max(2, min(decided.count, Self.mostEvaluations, Self.mostWeights / max(1, size)))
    let chosen = Self.spread(count, over: decided.count).map { decided[$0] }
    steps = chosen.map(\.step)
    hasModules = grid.modules.count > 1
    var places = [[Int]](repeating: [], count: rows.count)
    for (index, place) in grid.cells.enumerated() {
      if let place { places[index % grid.layers.count].append(place) }
    }
    for (index, place) in grid.others.enumerated() { places[grid.layers.count + index] = [place] }
    weights = chosen.map { evaluation in
      var known: [ByteKey: [[Float]]] = [:]
      for domain in evaluation.domains { known[ByteKey(domain.domain)] = domain.weights }
      return domains.flatMap { domain in
        Self.means(known[ByteKey(domain)] ?? [], places: places, width: width)
      }
    }
    largest = weights.joined().reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 }
    (self.domains, self.width) = (domains, width)
  }

  /// `count` of `total`, evenly, the first and the last among them.
  private static func spread(_ count: Int, over total: Int) -> [Int] {
    guard total > count, count > 1 else { return Array(0..<total) }
    return (0..<count).map { $0 * (total - 1) / (count - 1) }
  }

  /// The mean weight of each column in each row.
  private static func means(_ weights: [[Float]], places: [[Int]], width: Int) -> [Float] {
    var result: [Float] = []
    result.reserveCapacity(places.count * width)
    for row in places {
      let known = row.filter { weights.indices.contains($0) }.map { weights[$0] }
      for column in 0..<width {
        var (sum, count) = (Float(0), Float(0))
        for weights in known where weights.indices.contains(column) && weights[column].isFinite {
          (sum, count) = (sum + weights[column], count + 1)
        }
        result.append(count > 0 ? sum / count : .nan)
      }
    }
    return result
  }

  /// The weight of a column for a kind of text in a row; NaN if it is not known.
  func weight(_ evaluation: Int, domain: Int, row: Int, column: Int) -> Float {
    weights[evaluation][(domain * rows.count + row) * width + column]
  }

  /// The mean over the rows.
  func mean(_ evaluation: Int, domain: Int, column: Int) -> Float {
    let known = rows.indices.map { weight(evaluation, domain: domain, row: $0, column: column) }
      .filter { $0.isFinite }
    return known.isEmpty ? .nan : known.reduce(0, +) / Float(known.count)
  }

  /// What the script needs: the weights as `WeightCode` writes them.
  var data: JSON {
    let coder = WeightCode(largest: largest)
    let texts = weights.map { weights -> JSON in
      var bytes: [UInt8] = []
      bytes.reserveCapacity(weights.count * 2)
      for weight in weights { coder.append(weight, to: &bytes) }
      return .string(String(decoding: bytes, as: UTF8.self))
    }
    return [
      "domains": .array(domains.map { .string($0.printable) }),
      "rows": .array(rows.map { .string($0.printable) }), "width": .integer(width),
      "steps": .array(steps.map { .integer($0) }),
      "largest": .double(Double(max(largest, .leastNormalMagnitude))), "weights": .array(texts),
    ]
  }
}
