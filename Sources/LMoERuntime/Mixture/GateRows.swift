import LMoECore
import LMoEExperts
import LMoEFormat

/// A gate of a bundle, ready to be put where it belongs.
struct GateRows: Sendable {
  let scope: Scope
  let make: Make
  enum Scope: Sendable { case module, layer, global }
  struct Make: Sendable {
    let score: GateInstance.Score
    let normaliser: GateInstance.Normaliser
    let temperature: Float
    let routed: [Int]
    let always: [Int]
    let width: Int
  }

  static func constant(_ weights: [Float]) -> GateRows {
    GateRows(
      scope: .global,
      make: Make(
        score: .constant(weights), normaliser: .none, temperature: 1, routed: Array(weights.indices),
        always: [],
        width: weights.count))
  }

  func module(_ name: String, experts: StackedExperts?, inputs: Int) throws -> GateInstance? { nil }
  func layer(_ name: String, inputs: Int) throws -> GateInstance? { nil }
  func global(inputs: Int) throws -> GateInstance? {
    guard scope == .global else { return nil }
    return GateInstance(
      name: "global", score: make.score, rows: nil, normaliser: make.normaliser,
      temperature: make.temperature,
      routed: make.routed, always: make.always, width: make.width)
  }
}
