public import LMoECore

/// How much what goes into each linear layer of a base matters: the mean of the square of each input over a text.
public struct InputImportance: Sendable {
  /// By the layer's name (`model.layers.0.mlp.up_proj`).
  private let means: [ByteKey: [Float]]
  /// The XXH3-128 of the text.
  public let textHash: Bits128

  /// Takes means of squares by the names of layers.
  public init(_ means: [(name: String, meanSquares: [Float])], textHash: Bits128) {
    self.means = Dictionary(
      means.map { (ByteKey($0.name), $0.meanSquares) }, uniquingKeysWith: { first, _ in first })
    self.textHash = textHash
  }

  /// For the inputs of the weight with that name; nil if none were seen.
  func inputs(ofWeight name: String) -> [Float]? {
    let suffix = ".weight"
    guard name.hasSuffix(suffix) else { return nil }
    let module = String(name.dropLast(suffix.count))
    return means[ByteKey(module)] ?? means[ByteKey("model." + module)]
  }
}
