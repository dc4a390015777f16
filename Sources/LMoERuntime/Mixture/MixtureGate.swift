private import CLMoEKernels
import LMoECore
import LMoEExperts

/// What weighs the experts of a mixture, ready to be put where it decides.
struct MixtureGate: Sendable {
  private enum Source: Sendable {
    /// The same weights for every token everywhere.
    case constant([Float])
    /// A gate of the bundle.
    case routing(GateRouting)
  }

  private let source: Source
  /// The column of each expert, and of the null expert if it takes part.
  private let columns: [Bits128: Int]
  private let name: String
  private let path: String

  /// Weights for every token.
  init(constant weights: [Float]) {
    source = .constant(weights)
    (columns, name, path) = ([:], "", "")
  }

  /// A gate of a bundle.
  init(_ routing: GateRouting, columns: [Bits128: Int], name: String, path: String) {
    source = .routing(routing)
    (self.columns, self.name, self.path) = (columns, name, path)
  }

  /// The gate, if it is more than weights.
  var stored: GateRouting? { if case .routing(let routing) = source { routing } else { nil } }

  private var scope: Gate.Scope {
    if case .routing(let routing) = source { routing.gate.scope } else { .global }
  }

  /// The instance for the whole model, if one decides for all of it.
  func global(inputs: Int) throws -> GateInstance? {
    guard scope == .global else { return nil }
    switch source {
    case .constant(let weights):
      return GateInstance(
        name: Gate.globalPlace, score: .constant, rows: nil, terms: .vector(weights), normaliser: .none,
        temperature: 1,
        routed: Array(weights.indices), always: [], width: weights.count)
    case .routing(let routing): return try instance(Gate.globalPlace, routing, inputs: inputs)
    }
  }

  /// The instance for a layer, if each layer has one.
  func layer(_ layer: String, inputs: Int) throws -> GateInstance? {
    guard scope == .layer, case .routing(let routing) = source else { return nil }
    return try instance(layer, routing, inputs: inputs)
  }

  /// The instance for a linear layer that experts adapt, if each has one.
  ///
  /// - Throws: `unsupported-gate` for a module outside the layers, where a gate of layers decides nothing.
  func module(_ module: String, inputs: Int) throws -> GateInstance? {
    guard case .routing(let routing) = source else { return nil }
    if scope == .layer, routing.gate.place(ofModule: module) == nil {
      throw RuntimeError(
        .unsupportedGate, path: path, name: name,
        found: "it decides for each layer, and an expert adapts \(module), which is in none")
    }
    guard scope == .module else { return nil }
    return try instance(module, routing, inputs: inputs)
  }

  private func instance(_ place: String, _ routing: GateRouting, inputs: Int) throws -> GateInstance {
    let found = routing.places[ByteKey(place)]
    let experts = found?.experts ?? []
    for row in found?.rows ?? [] where row.count != routing.gate.rowCount(width: inputs) {
      throw RuntimeError(
        .invalidGate, path: path, name: name,
        found: "a row at \(place) has \(row.count) numbers and not \(routing.gate.rowCount(width: inputs))")
    }
    return GateInstance(
      name: place, score: score(routing.gate),
      rows: found.flatMap { $0.rows.isEmpty ? nil : Self.matrix($0.rows, inputs) },
      terms: terms(found, routing.gate, inputs).map { .vector($0) },
      normaliser: normaliser(routing.gate.normaliser), temperature: Float(routing.gate.temperature),
      routed: experts.compactMap { columns[$0] }, always: routing.always.compactMap { columns[$0] },
      width: columns.count)
  }

  private func score(_ gate: Gate) -> GateInstance.Score {
    switch gate.score {
    case .constant: .constant
    case .linear: .linear
    case .prototype(.dot): .dot
    case .prototype(.absoluteDot): .absoluteDot
    case .prototype(.cosine): .cosine
    }
  }

  private func terms(_ place: GateRouting.Place?, _ gate: Gate, _ inputs: Int) -> [Float]? {
    switch gate.score {
    case .constant: (place?.scores ?? []).map { Float($0) }
    case .linear: (place?.rows ?? []).map { $0[inputs] }
    case .prototype(.dot), .prototype(.absoluteDot): nil
    case .prototype(.cosine): (place?.rows ?? []).map { GateInstance.inverseNorm($0) }
    }
  }

  private func normaliser(_ normaliser: Gate.Normaliser) -> GateInstance.Normaliser {
    switch normaliser {
    case .none: .none
    case .softmax: .softmax
    case .topKRenormalised(let k): .topKRenormalised(k)
    case .topKRaw(let k): .topKRaw(k)
    }
  }

  /// The first `inputs` numbers of each row: [experts, inputs].
  private static func matrix(_ rows: [[Float]], _ inputs: Int) -> Weight {
    Weight.made(rows: rows.count, columns: inputs) { out in
      for (index, row) in rows.enumerated() {
        for column in 0..<inputs { out[index, column] = row[column] }
      }
    }
  }
}
