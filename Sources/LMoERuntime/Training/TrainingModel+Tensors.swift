public import LMoECore
public import LMoEExperts

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

  /// The largest rank and the number of parameters of each expert that takes part.
  public var expertSizes: [ByteKey: (rank: Int, parameters: Int)] {
    var sizes: [ByteKey: (rank: Int, parameters: Int)] = [:]
    for linear in linears {
      for slot in linear.experts?.slots ?? [] {
        let key = ByteKey(model.experts[slot.expert])
        let old = sizes[key] ?? (0, 0)
        sizes[key] = (
          max(old.rank, slot.ranks.count),
          old.parameters + slot.ranks.count * (linear.weight.columns + linear.outputs)
            + (slot.rescaling == nil ? 0 : linear.outputs)
        )
      }
    }
    return sizes
  }

  /// The gate that weighs the experts; nil for fixed weights.
  public var gateInUse: Gate? { routing?.gate }

  /// The number of the gate's parameters.
  public var gateParameterCount: Int {
    gates.reduce(0) { sum, tape in
      sum + (tape.gate.rows?.count ?? 0)
        + (tape.gate.score == .linear || tape.gate.score == .constant ? tape.gate.terms?.count ?? 0 : 0)
    }
  }

  private func rows(_ parameter: Parameter, _ part: Part) -> Rows {
    part == .values ? parameter.values : parameter.gradient
  }
}
