/// Weights as text, two letters each: 2047 + 2047 · weight / largest in base 64.
struct WeightCode {
  /// What 4094 stands for.
  let largest: Float

  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  /// The number that the largest weight has.
  private static let steps: Float = 2047
  /// Stands for a weight that was not taken down.
  private static let missing = 4095

  /// Appends a weight; nil or what is not finite is one that was not taken down.
  func append(_ weight: Float?, to bytes: inout [UInt8]) {
    let code = weight.map(code) ?? Self.missing
    bytes += [Self.alphabet[code >> 6], Self.alphabet[code & 63]]
  }

  private func code(_ weight: Float) -> Int {
    guard weight.isFinite, largest > 0 else { return weight.isFinite ? Int(Self.steps) : Self.missing }
    return Int((max(-1, min(1, weight / largest)) * Self.steps).rounded()) + Int(Self.steps)
  }
}
