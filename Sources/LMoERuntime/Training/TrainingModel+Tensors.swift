import LMoECore
import LMoEExperts

extension TrainingModel {
  /// What is asked of the parameters.
  enum Part { case values, gradients }

  /// A tensor of a trained expert, by rows.
  struct ExpertTensor {
    let expert: String
    /// The linear layer.
    let module: String
    /// What comes after the layer's name in the tensor's: `lora_A.weight` and so on.
    let suffix: String
    let shape: [Int]
    let values: [Float]
  }

  /// The tensors of trained experts, as adapters have them: A is rank × inputs, B is outputs × rank.
  func expertTensors(_ part: Part = .values) -> [ExpertTensor] {
    var result: [ExpertTensor] = []
    for linear in linears {
      guard let stack = linear.experts, let trained = stack.trained else { continue }
      let (a, b) = (rows(trained.a, part), rows(trained.b, part))
      for (index, slot) in stack.slots.enumerated() where slot.ranks.upperBound <= trained.ranks {
        let expert = model.experts[slot.expert]
        func add(_ suffix: String, _ shape: [Int], _ values: [Float]) {
          result.append(
            ExpertTensor(
              expert: expert, module: linear.name, suffix: suffix, shape: shape, values: values))
        }
        add("lora_A.weight", [slot.ranks.count, a.width], slot.ranks.flatMap { a.array($0) })
        let columns = (0..<b.width).flatMap { output in slot.ranks.map { b[$0, output] } }
        add("lora_B.weight", [b.width, slot.ranks.count], columns)
        if let magnitude = trained.magnitudes[index] {
          let values = rows(magnitude, part)
          add("lora_magnitude_vector", [values.width], values.array(0))
        }
      }
    }
    return result
  }

  /// The rows of a learned gate, as bundles have them; empty for other gates, and where none is trained.
  func gateRows(_ part: Part = .values) -> Gate.Rows {
    var result: Gate.Rows = [:]
    for gate in gates {
      guard let rows = gate.rows.map({ self.rows($0, part) }),
        let experts = routing?.places[ByteKey(gate.gate.name)]?.experts
      else { continue }
      let biases = gate.terms.map { self.rows($0, part).array(0) }
      for (index, expert) in experts.enumerated() {
        result[ByteKey(gate.gate.name), default: [:]][expert] =
          rows.array(index) + (biases.map { [$0[index]] } ?? [])
      }
    }
    return result
  }

  /// The numbers of a constant gate; nil for other gates, and where none is trained.
  func gateWeights(_ part: Part = .values) -> [Gate.Weight]? {
    guard let gate, gate.gate.score == .constant, let terms = gate.terms,
      let experts = routing?.places[ByteKey(Gate.globalPlace)]?.experts
    else { return nil }
    let values = rows(terms, part).array(0)
    return zip(experts, values).map { Gate.Weight(expert: $0, value: Double($1)) }
  }

  private func rows(_ parameter: Parameter, _ part: Part) -> Rows {
    part == .values ? parameter.values : parameter.gradient
  }
}
