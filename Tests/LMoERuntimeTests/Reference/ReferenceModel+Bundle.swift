import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

extension ReferenceModel {
  /// The model of a bundle with its experts and a gate.
  ///
  /// - Parameters:
  ///   - gate: The gate's name; without one every expert has weight 1.
  ///   - experts: Which experts; all if nil.
  init(_ bundle: Bundle, gate: String? = nil, experts: [String]? = nil) throws {
    let base = try bundle.baseDescription()
    let model = base.model
    configuration = ReferenceConfiguration(model)
    weights = [:]
    var names = ["model.embed_tokens", "model.norm"]
    if !model.tiesEmbeddings { names.append("lm_head") }
    for layer in 0..<model.layerCount {
      let linears = ["q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"].map { "self_attn." + $0 }
      names +=
        (["input_layernorm", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
        + linears).map { "model.layers.\(layer).\($0)" }
    }
    let bank = try bundle.bank("base")
    let manifest = try bundle.manifest(of: bank)
    for name in names.flatMap({ [$0 + ".weight", $0 + ".bias"] }) {
      guard let entry = base.names.stored(name).flatMap(manifest.tensor) else { continue }
      weights[name] = try Self.matrix(entry, bank, bundle)
    }
    for bank in bundle.banks(ofKind: "expert") where experts?.contains(bank.shortName) ?? true {
      self.experts.append(try Self.expert(bank, bundle))
    }
    self.gate = try gate.map { try Self.gate($0, bundle) }
  }

  private static func expert(_ bank: BankEntry, _ bundle: Bundle) throws -> ReferenceExpert {
    let card = try #require(try bundle.card(of: bank))
    let manifest = try bundle.manifest(of: bank)
    var modules: [String: ReferenceExpert.Module] = [:]
    for group in try #require(ModuleGroup.groups(ofCard: card)) {
      for target in group.targets {
        func tensor(_ suffix: String) throws -> ReferenceMatrix? {
          let name = (card["prefix"]?.string ?? "") + target + suffix
          return try manifest.tensor(name).map { try matrix($0, bank, bundle) }
        }
        modules[target] = ReferenceExpert.Module(
          a: try #require(try tensor(".lora_A.weight")), b: try #require(try tensor(".lora_B.weight")),
          scaling: group.numbers.scaling, magnitude: try tensor(".lora_magnitude_vector")?.values)
      }
    }
    return ReferenceExpert(name: bank.shortName, modules: modules)
  }

  private static func gate(_ name: String, _ bundle: Bundle) throws -> ReferenceGate {
    let routing = try bundle.gate(named: name).routing()
    let gate = routing.gate
    var names: [Bits128: String] = [Gate.nullExpert: ""]
    for bank in bundle.banks(ofKind: "expert") { names[bank.id] = bank.shortName }
    let score: ReferenceGate.Score =
      switch gate.score {
      case .constant: .constant
      case .linear: .linear
      case .prototype(.dot): .dot
      case .prototype(.absoluteDot): .absoluteDot
      case .prototype(.cosine): .cosine
      }
    let scope: ReferenceGate.Scope =
      switch gate.scope {
      case .module: .module
      case .layer: .layer
      case .global: .global
      }
    let normaliser: ReferenceGate.Normaliser =
      switch gate.normaliser {
      case .none: .none
      case .softmax: .softmax
      case .topKRenormalised(let k): .topKRenormalised(k)
      case .topKRaw(let k): .topKRaw(k)
      }
    let routed = Set(routing.places.values.flatMap(\.experts)).sorted()
    var result = ReferenceGate(
      score: score, scope: scope, normaliser: normaliser, temperature: gate.temperature,
      routed: routed.compactMap { names[$0] }, always: routing.always.compactMap { names[$0] })
    for (key, place) in routing.places {
      for (index, expert) in place.experts.enumerated() {
        guard let name = names[expert] else { continue }
        if score == .constant {
          result.scores[name] = place.scores[index]
        } else {
          result.rows[key.text, default: [:]][name] = place.rows[index].map(Double.init)
        }
      }
    }
    return result
  }

  /// A tensor of floats; a vector is one row.
  private static func matrix(_ entry: Entry, _ bank: BankEntry, _ bundle: Bundle) throws -> ReferenceMatrix {
    let bytes = try bundle.bytes(of: entry, in: bank)
    let floats = try #require(FloatValues(entry.type.dtype))
    var values = [Float](repeating: 0, count: entry.type.elementCount)
    bytes.withUnsafeBytes { bytes in values.withUnsafeMutableBufferPointer { floats.convert(bytes, to: $0) } }
    let columns = entry.type.shape.last ?? 1
    return ReferenceMatrix(values.count / columns, columns, values.map(Double.init))
  }
}
