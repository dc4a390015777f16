import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Small bundles with gates, made of little.
extension Scratch {
  static let modules = ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"]

  /// A base of two layers, 4 wide, with 6 inside the feed-forward, and experts that change the modules given.
  func gated(
    _ name: String, experts: [(name: String, id: Bits128, modules: [String])],
    gates: [(name: String, card: JSON, rows: [NewEntry])] = []
  ) throws -> Bundle {
    let writer = try BundleWriter(creating: path(name))
    try writer.addBank("base", card: ["card": 1, "kind": "base"], entries: try Self.baseTensors())
    for expert in experts {
      let card: JSON = [
        "card": 1, "kind": "expert", "type": "lora", "prefix": "base_model.model.",
        "modules": [
          ["rank": 1, "alpha": 1, "scaling": 1, "targets": .array(expert.modules.map(JSON.string))]
        ],
      ]
      try writer.addBank("expert/" + expert.name, id: expert.id, card: card, entries: [])
    }
    for gate in gates {
      try writer.addBank("gate/" + gate.name, card: gate.card, entries: gate.rows)
    }
    try writer.commit(note: "test")
    return try Bundle(path: path(name))
  }

  private static func baseTensors() throws -> [NewEntry] {
    try [
      zeros("model.embed_tokens.weight", [10, 4]),
      zeros("model.layers.0.self_attn.q_proj.weight", [4, 4]),
      zeros("model.layers.1.mlp.down_proj.weight", [4, 6]),
    ]
  }
}

/// A row of a gate: a tensor of float32.
func gateRow(_ name: String, _ values: [Float]) throws -> NewEntry {
  let type = try #require(TensorType(dtype: .f32, shape: [UInt64(values.count)]))
  let bytes = values.flatMap { value in
    (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
  }
  return NewEntry(tensor: name, type: type, source: MemorySource(bytes))
}
