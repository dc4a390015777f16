import LMoECore
import LMoEExperts
import LMoEFormat

/// Notices runs that cannot learn, and gates that have stopped to choose.
struct TrainingWarnings {
  /// Sentences that nobody has seen yet.
  private var new: [String] = []
  var saysCollapsed = false
  /// Steps in a row in which one expert had nearly everything.
  var lonely = 0

  init() {}

  /// The sentences since the last call.
  mutating func take() -> [String] {
    defer { new = [] }
    return new
  }

  // MARK: At the beginning

  /// Looks at the parameters before the first step.
  mutating func begin(_ model: TrainingModel) {
    let stacks = model.linears.compactMap(\.experts)
    if model.gates.contains(where: \.isTrained), model.linears.allSatisfy({ $0.experts?.trained == nil }),
      stacks.allSatisfy({ stack in stack.up.floats.allSatisfy { $0 == 0 } })
    {
      new.append(
        "every expert still changes nothing (B = 0), so that the gate has nothing to choose between and gets no "
          + "gradient; train the experts too")
    }
    for (first, second) in twins(model, stacks) {
      new.append(
        "the experts \(first) and \(second) are the same and weighed the same: their gradients are alike, and "
          + "training cannot tell them apart; begin one of them anew, or the gate")
    }
  }

  private func twins(_ model: TrainingModel, _ stacks: [LinearExperts]) -> [(String, String)] {
    let names = model.model.experts
    guard model.gates.contains(where: \.isTrained) || stacks.contains(where: { $0.trained != nil }) else {
      return []
    }
    // Hashes: the values may be many.
    var values = names.indices.map { _ in [Int]() }
    for stack in stacks {
      for expert in names.indices {
        let slot = stack.slots.first { $0.expert == expert }
        values[expert].append(
          slot.map { [stack.down[$0.ranks].floats.hashValue, stack.up[$0.ranks].floats.hashValue].hashValue }
            ?? 0)
      }
    }
    for gate in model.gates {
      for expert in names.indices {
        let place = gate.gate.routed.firstIndex(of: expert)
        let row = place.flatMap { place in gate.gate.rows?[place..<place + 1].floats } ?? []
        let term = place.flatMap { place in gate.gate.terms.map { [$0.element(0, place)] } } ?? []
        values[expert].append((row + term).hashValue)
      }
    }
    var result: [(String, String)] = []
    for first in names.indices {
      for second in names.indices where second > first && values[first] == values[second] {
        result.append((names[first], names[second]))
      }
    }
    return result
  }

  // MARK: During the run

  /// Looks at the gradients of the second step; in the first one those of a new expert's A are zero by design.
  mutating func look(at model: TrainingModel, step: Int, isSupervised: Bool) {
    guard step == 1, !isSupervised else { return }
    for role in Parameter.Role.allCases {
      let parameters = model.parameters.filter { $0.role == role }
      guard !parameters.isEmpty,
        parameters.allSatisfy({ parameter in
          (0..<parameter.gradient.count).allSatisfy { row in
            parameter.gradient.array(row).allSatisfy { $0 == 0 }
          }
        })
      else { continue }
      let what = role == .gate ? "the gate" : "\(role.rawValue.uppercased()) of the experts"
      new.append("\(what) gets no gradient at all: the run begins at a dead point and will not learn it")
    }
  }

  /// Looks at what the gate decides.
  mutating func look(at metrics: StepMetrics, columns: [String]) {
    guard columns.count > 1, !metrics.use.isEmpty, !saysCollapsed,
      let most = metrics.use.indices.max(by: { metrics.use[$0] < metrics.use[$1] })
    else { return }
    lonely = metrics.use[most] > 0.98 * metrics.use.reduce(0, +) ? lonely + 1 : 0
    guard lonely >= 20 else { return }
    saysCollapsed = true
    let name = columns[most].isEmpty ? "the bare base" : columns[most]
    new.append(
      "the routing has collapsed: \(name) has had nearly all the weight for 20 steps; try --balance or "
        + "--mutual-information, a lower --gate-rate, or a new gate")
  }
}

extension TrainingModel {
  /// Makes sure that there is something to be learned.
  ///
  /// - Throws: `RuntimeError` with `untrainable`.
  func requireTrainable() throws {
    func refuse(_ found: String) -> RuntimeError {
      RuntimeError(.untrainable, path: model.base.bundle.path, found: found)
    }
    guard !parameters.isEmpty else {
      throw refuse("nothing is to be trained: name experts, or a gate that has numbers of its own")
    }
    for gate in gates where gate.isTrained {
      if case .topKRenormalised(1) = gate.gate.normaliser {
        throw refuse(
          "the gate takes one expert and gives it the weight 1 whatever its score is, so that its gradient is zero; "
            + "make it anew with --top-k 1 --raw, or with a larger k")
      }
      if gate.gate.score == .constant, routing?.gate.scope != .global {
        throw refuse(
          "a constant gate can be trained only if its scope is global; make it anew with --scope global")
      }
    }
  }
}
