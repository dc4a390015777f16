public import LMoECore
public import LMoEExperts
import LMoEFormat

extension TrainingRun {
  /// The values of everything that is trained, at one moment.
  public struct Snapshot: Sendable {
    /// The step after which it was taken.
    public let step: Int
    let values: [[Float]]
  }

  /// Takes the values as they are.
  public func snapshot() -> Snapshot {
    Snapshot(
      step: progress.step,
      values: model.parameters.map { parameter in
        (0..<parameter.values.count).flatMap { parameter.values.array($0) }
      })
  }

  /// Brings values back.
  public func restore(_ snapshot: Snapshot) {
    for (parameter, values) in zip(model.parameters, snapshot.values) {
      for (index, value) in values.enumerated() {
        parameter.values[index / parameter.values.width, index % parameter.values.width] = value
      }
    }
    model.refresh()
  }

  /// The values as they are, to be published.
  ///
  /// - Parameters:
  ///   - record: How they were trained.
  ///   - isFirst: Whether what is new has not been published yet.
  public func trainedWeights(record: JSON, isFirst: Bool) throws -> TrainedWeights {
    var weights = TrainedWeights(record: record)
    let tensors = Dictionary(grouping: model.expertTensors(), by: { ByteKey($0.expert) })
    for expert in plan.newExperts {
      let floats = (tensors[ByteKey(expert.name)] ?? []).map { tensor in
        FloatTensor(
          tensor.suffix == "lora_A.weight"
            ? NewExpert.name(ofA: tensor.module) : NewExpert.name(ofB: tensor.module),
          shape: tensor.shape, values: tensor.values)
      }
      if isFirst {
        weights.newExperts.append(TrainedWeights.Addition(expert, tensors: floats))
      } else {
        weights.experts.append(TrainedWeights.Expert(expert.name, tensors: floats))
      }
    }
    for (name, tensors) in tensors.sorted(by: { $0.key < $1.key })
    where !plan.newExperts.contains(where: { $0.name.hasSameBytes(as: name.text) }) {
      let prefix = model.prefixes[name] ?? ""
      weights.experts.append(
        TrainedWeights.Expert(
          name.text,
          tensors: tensors.map {
            FloatTensor("\(prefix)\($0.module).\($0.suffix)", shape: $0.shape, values: $0.values)
          }))
    }
    try addGate(to: &weights, isFirst: isFirst)
    return weights
  }

  private func addGate(to weights: inout TrainedWeights, isFirst: Bool) throws {
    guard let routing = model.routing, plan.trainsGate else { return }
    let rows = model.gateRows()
    let numbers = model.gateWeights()
    switch plan.decider {
    case .gate(let name):
      let stored = try model.model.base.bundle.gate(named: name).gate
      if stored == routing.gate, !isUniform(stored) {
        weights.gates.append(
          TrainedWeights.GateValues(name, numbers.map { .weights($0) } ?? .rows(rows)))
      } else {
        // It knows more experts now, or has numbers of its own.
        weights.newGates.append(
          TrainedWeights.GateAddition(name, made(routing.gate, rows, numbers), replaces: true))
      }
    case .newGate(let name, _, _, _):
      if isFirst {
        weights.newGates.append(
          TrainedWeights.GateAddition(name, made(routing.gate, rows, numbers), replaces: true))
      } else {
        weights.gates.append(TrainedWeights.GateValues(name, numbers.map { .weights($0) } ?? .rows(rows)))
      }
    case .uniform, .expert: break
    }
  }

  private func isUniform(_ gate: Gate) -> Bool {
    if case .constant(.uniform) = gate.score { true } else { false }
  }

  private func made(_ gate: Gate, _ rows: Gate.Rows, _ numbers: [Gate.Weight]?) -> NewGate {
    var gate = gate
    if let numbers { gate.score = .constant(.given(numbers)) }
    return NewGate(
      gate, rows: rows, initialiser: "random", facts: [("seed", .integer(plan.seed))])
  }

  /// The banks of the bundle that are trained.
  public var trainedBanks: [String] {
    var names = plan.experts.filter { name in
      !plan.newExperts.contains { $0.name.hasSameBytes(as: name) }
    }.map { "expert/" + $0 }
    if plan.trainsGate, case .gate(let name) = plan.decider { names.append("gate/" + name) }
    return names
  }
}
