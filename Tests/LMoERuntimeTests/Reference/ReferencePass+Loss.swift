/// The losses.
extension ReferencePass {
  /// Runs the pass and differentiates what `objective` asks for.
  func result(_ objective: ReferenceObjective) -> ReferenceResult {
    let logits = logits()
    let parts = [
      (crossEntropy(logits), objective.crossEntropy), (balance(), objective.balance), (z(), objective.z),
      (mutualInformation(), objective.mutualInformation), (labelLoss(), objective.label),
    ]
    let loss = parts.map { tape.scaled($0.0, $0.1) }.reduce(tape.leaf(ReferenceMatrix(1, 1)), tape.sum)
    var result = ReferenceResult()
    result.loss = tape[loss][0, 0]
    let numbers = parts.map { tape[$0.0][0, 0] }
    result.parts = ReferenceObjective(
      crossEntropy: numbers[0], balance: numbers[1], z: numbers[2], mutualInformation: numbers[3],
      label: numbers[4])
    result.logits = tape[logits]
    for (place, decision) in decisions {
      for member in decision.members {
        result.gateWeights[place, default: [:]][member] = weights(of: member, decision)
      }
    }
    guard tape.records else { return result }
    tape.differentiate(loss)
    result.gradients = trained.mapValues { tape.gradient(of: $0).values }
    return result
  }

  /// The weights that a member had, those of labels included.
  private func weights(of member: String, _ decision: Decision) -> [Double] {
    let own = tape[decision.weights].column(decision.members.firstIndex(of: member) ?? 0)
    return zip(fed, own).map { token, weight in
      documents[token.document].label.map { $0 == member ? 1 : 0 } ?? weight
    }
  }

  /// The mean of −log p over all targets.
  private func crossEntropy(_ logits: Tape.Variable) -> Tape.Variable {
    var rows: [Int] = []
    var places: [(row: Int, column: Int)] = []
    for (row, token) in fed.enumerated() {
      let document = documents[token.document]
      let next = token.position + 1
      guard next < document.tokens.count, document.isTarget[next] else { continue }
      rows.append(row)
      places.append((row, document.tokens[next]))
    }
    guard !rows.isEmpty else { return zero }
    let logarithms = tape.rows(rows, of: tape.logSumExp(logits))
    return tape.mean(tape.difference(logarithms, tape.elements(places, of: logits)))
  }

  /// Of E members: E·Σ fᵢ·Pᵢ for a top-k normaliser, f the fractions of all selections, which are constants;
  /// E·Σ Pᵢ² for others.
  private func balance() -> Tape.Variable {
    meanOverPlaces { decision in
      let mean = tape.meanRow(tape.softmax(decision.scores))
      let members = Double(decision.members.count)
      switch model.gate?.normaliser {
      case .topKRenormalised, .topKRaw:
        var fractions = ReferenceMatrix(1, decision.members.count)
        let selections = decision.chosen.joined()
        for column in selections { fractions[0, column] += 1 / Double(selections.count) }
        return tape.scaled(tape.total(tape.elementwise(mean, tape.leaf(fractions))), members)
      default: return tape.scaled(tape.total(tape.elementwise(mean, mean)), members)
      }
    }
  }

  /// The mean over tokens of (log Σ exp z)².
  private func z() -> Tape.Variable {
    meanOverPlaces { decision in
      let logarithms = tape.logSumExp(decision.scores)
      return tape.mean(tape.elementwise(logarithms, logarithms))
    }
  }

  /// The mean over tokens of H(p), less H of the mean of p.
  private func mutualInformation() -> Tape.Variable {
    meanOverPlaces { decision in
      let p = tape.softmax(decision.scores)
      let each = tape.scaled(tape.total(tape.timesLogarithm(p)), 1 / Double(fed.count))
      return tape.difference(tape.total(tape.timesLogarithm(tape.meanRow(p))), each)
    }
  }

  /// The mean of −log p of the label over the tokens that have one, where it takes part.
  private func labelLoss() -> Tape.Variable {
    meanOverPlaces { decision in
      var rows: [Int] = []
      var places: [(row: Int, column: Int)] = []
      for (row, token) in fed.enumerated() {
        guard let label = documents[token.document].label,
          let column = decision.members.firstIndex(of: label)
        else { continue }
        rows.append(row)
        places.append((row, column))
      }
      guard !rows.isEmpty else { return nil }
      let logarithms = tape.rows(rows, of: tape.logSumExp(decision.scores))
      return tape.mean(tape.difference(logarithms, tape.elements(places, of: decision.scores)))
    }
  }

  /// The mean over the places where there is something to take the mean of.
  private func meanOverPlaces(_ loss: (Decision) -> Tape.Variable?) -> Tape.Variable {
    let losses = decisions.sorted { $0.key < $1.key }.compactMap { loss($0.value) }
    guard !losses.isEmpty else { return zero }
    return tape.scaled(losses.reduce(zero, tape.sum), 1 / Double(losses.count))
  }

  private var zero: Tape.Variable { tape.leaf(ReferenceMatrix(1, 1)) }
}
