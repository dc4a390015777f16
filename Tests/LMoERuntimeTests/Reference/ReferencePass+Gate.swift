/// How the gate decides.
extension ReferencePass {
  /// What the gate decided at a place.
  struct Decision {
    /// The routed members that take part, in order.
    let members: [String]
    /// Scores over temperature [T, members].
    let scores: Tape.Variable
    /// The weights of each token [T, members], labels or not.
    let weights: Tape.Variable
    /// The columns that a top-k normaliser chose for each token; all of them for others.
    let chosen: [[Int]]
  }

  func decideForAll(_ embedding: Tape.Variable) {
    guard let gate = model.gate, gate.scope == .global else { return }
    decide("global", gate, acting: model.experts.map(\.name), embedding)
  }

  func decide(forLayer layer: String, _ normed: Tape.Variable) {
    guard let gate = model.gate, gate.scope == .layer else { return }
    let acting = model.experts.filter { $0.modules.keys.contains { $0.hasPrefix(layer + ".") } }
    decide(layer, gate, acting: acting.map(\.name), normed)
  }

  func decide(forModule module: String, _ input: Tape.Variable) {
    guard let gate = model.gate, gate.scope == .module else { return }
    decide(module, gate, acting: model.experts.filter { $0.modules[module] != nil }.map(\.name), input)
  }

  /// The weight of an expert for each token [T, 1]; nil where it is 0 for all.
  func share(of expert: String, in module: String) -> Tape.Variable? {
    guard let gate = model.gate, !gate.always.contains(expert) else {
      return tape.leaf(ReferenceMatrix(fed.count, 1, repeating: 1))
    }
    let place =
      switch gate.scope {
      case .module: module
      case .layer: module.split(separator: ".").prefix(3).joined(separator: ".")
      case .global: "global"
      }
    // Tokens of a labelled document go to the label, and whoever else takes part has none of them.
    let isLabelled = fed.map { documents[$0.document].label != nil }
    let isLabel = fed.map { documents[$0.document].label == expert ? 1.0 : 0 }
    let given = tape.leaf(ReferenceMatrix(column: isLabel))
    guard let decision = decisions[place], let column = decision.members.firstIndex(of: expert) else {
      return isLabel.contains(1) ? given : nil
    }
    let own = tape.columns(column..<column + 1, of: decision.weights)
    guard isLabelled.contains(true) else { return own }
    let keeps = tape.leaf(ReferenceMatrix(column: isLabelled.map { $0 ? 0 : 1 }))
    return tape.sum(tape.elementwise(own, keeps), given)
  }

  private func decide(_ place: String, _ gate: ReferenceGate, acting: [String], _ input: Tape.Variable) {
    guard !acting.isEmpty else { return }
    let members = gate.routed.filter { name in
      (name.isEmpty || acting.contains(name))
        && (gate.score == .constant ? gate.scores[name] != nil : gate.rows[place]?[name] != nil)
    }
    guard !members.isEmpty else { return }
    let scores = tape.scaled(
      tape.beside(members.map { score(of: $0, place, gate, input) }), 1 / gate.temperature)
    let (weights, chosen) = normalised(scores, gate.normaliser)
    decisions[place] = Decision(members: members, scores: scores, weights: weights, chosen: chosen)
  }

  /// z of a member for each token [T, 1].
  private func score(
    of member: String, _ place: String, _ gate: ReferenceGate, _ input: Tape.Variable
  ) -> Tape.Variable {
    let ones = tape.leaf(ReferenceMatrix(tape[input].rows, 1, repeating: 1))
    if gate.score == .constant {
      let number = leaf(
        "gate//\(member)", ReferenceMatrix(1, 1, [gate.scores[member] ?? 0]), isTrained: gate.isTrained)
      return tape.elementwise(ones, number)
    }
    let row = leaf(
      "gate/\(place)/\(member)", ReferenceMatrix(row: gate.rows[place]?[member] ?? []),
      isTrained: gate.isTrained)
    return switch gate.score {
    case .linear: tape.linear(tape.beside([input, ones]), row)
    case .absoluteDot: tape.absolute(tape.linear(input, row))
    case .cosine: tape.linear(tape.unitRows(input), tape.unitRows(row))
    case .dot, .constant: tape.linear(input, row)
    }
  }

  private func normalised(
    _ scores: Tape.Variable, _ normaliser: ReferenceGate.Normaliser
  ) -> (weights: Tape.Variable, chosen: [[Int]]) {
    let values = tape[scores]
    let all = Array(0..<values.columns)
    let everyone = [[Int]](repeating: all, count: values.rows)
    func largest(_ k: Int) -> [[Int]] {
      (0..<values.rows).map { row in
        Array(all.sorted { (values[row, $0], -$0) > (values[row, $1], -$1) }.prefix(k))
      }
    }
    func isChosen(_ chosen: [[Int]]) -> [[Bool]] { chosen.map { row in all.map { row.contains($0) } } }
    switch normaliser {
    case .none: return (scores, everyone)
    case .softmax: return (tape.softmax(scores), everyone)
    case .topKRenormalised(let k):
      let chosen = largest(k)
      return (tape.softmax(scores, over: isChosen(chosen)), chosen)
    case .topKRaw(let k):
      let chosen = largest(k)
      let mask = isChosen(chosen).flatMap { $0.map { $0 ? 1.0 : 0 } }
      return (
        tape.elementwise(
          tape.softmax(scores), tape.leaf(ReferenceMatrix(values.rows, values.columns, mask))), chosen
      )
    }
  }
}
