import LMoECore
import LMoEExperts
import LMoEFormat

/// How long the rows of a learned gate are: of a linear gate without the biases.
struct GateNorms {
  /// The norm of each row: expert → place → norm.
  let norms: [Bits128: [ByteKey: Double]]

  /// Reads all rows.
  init(_ stored: StoredGate) throws {
    var norms: [Bits128: [ByteKey: Double]] = [:]
    if stored.gate.isLearned {
      for (place, experts) in try stored.rows() {
        for (expert, row) in experts {
          let weights = stored.gate.score == .linear ? row.dropLast() : row[...]
          norms[expert, default: [:]][place] =
            weights.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        }
      }
    }
    self.norms = norms
  }

  /// The norm of an expert's rows, in the mean of their squares; nil if it has none.
  func typical(_ expert: Bits128) -> Double? { norms[expert].flatMap { Self.typical(Array($0.values)) } }

  /// The same for each layer, in order.
  func byLayer(_ expert: Bits128) -> [Double?] {
    var layers: [Int: [Double]] = [:]
    for (place, norm) in norms[expert] ?? [:] {
      if let layer = Gate.layerNumber(of: place.text) { layers[layer, default: []].append(norm) }
    }
    guard let last = layers.keys.max() else { return [] }
    return (0...last).map { layers[$0].flatMap(Self.typical) }
  }

  private static func typical(_ norms: [Double]) -> Double? {
    guard !norms.isEmpty else { return nil }
    // In a fixed order, so that the last digit is always the same.
    return (norms.sorted().reduce(0) { $0 + $1 * $1 } / Double(norms.count)).squareRoot()
  }
}
