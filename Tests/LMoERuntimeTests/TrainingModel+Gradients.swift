import LMoEExperts
import LMoEFormat

@testable import LMoERuntime

import class LMoEFormat.Bundle

extension TrainingModel {
  /// What is trained, or its gradients, by the names that the reference and the fixtures have for it.
  func named(_ part: Part, of bundle: Bundle) -> [String: [Float]] {
    var names = Dictionary(
      uniqueKeysWithValues: bundle.banks(ofKind: "expert").map { ($0.id, $0.shortName) })
    names[Gate.nullExpert] = ""
    var found: [String: [Float]] = [:]
    for tensor in expertTensors(part) {
      let suffix = ["lora_A.weight": "lora_A", "lora_B.weight": "lora_B"][tensor.suffix] ?? "magnitude"
      found["\(tensor.expert)/\(tensor.module).\(suffix)"] = tensor.values
    }
    for (place, rows) in gateRows(part) {
      for (id, row) in rows { found["gate/\(place.text)/\(names[id] ?? "?")"] = row }
    }
    for weight in gateWeights(part) ?? [] {
      found["gate//\(names[weight.expert] ?? "?")"] = [Float(weight.value)]
    }
    return found
  }

  /// All gradients, in the order of the parameters.
  var allGradients: [[Float]] {
    parameters.map { parameter in (0..<parameter.gradient.count).flatMap { parameter.gradient.array($0) } }
  }
}
