extension TrainingModel {
  /// Multiplications, each with an addition, that one pass forward and backward cannot avoid, by stage.
  ///
  /// With N rows, and for a linear layer of `i` inputs, `o` outputs and `R` stacked ranks, of which `r` are
  /// trained:
  ///
  ///     forward              N·(i·o + R·(i + o))    x·W₀ᵀ, U = x·Āᵀ, (U ⊙ Ĝ)·B̄
  ///     gradient of U        N·R·o                  Q = D·B̄ᵀ, for what comes before, for dĀ and for the gate
  ///     gradient of factors  N·r·(i + o)            dĀ, dB̄
  ///     gradient of input    N·(i·o + R·i)          D·W₀ + (Q ⊙ Ĝ)·Ā, if anything before it is trained
  ///
  /// Where a gate chooses some of its experts, R and r are those of as many experts.
  ///
  /// A gate with n rows of width h takes N·n·h forward, as much for the gradient of its rows, and as much for that of
  /// its input. A query sees itself and what comes before, within the window: each such pair takes 2·(heads·d)
  /// forward (score and mixture) and 4·(heads·d) backward (dV, dP, dQ, dK); that scores are computed again is our
  /// choice and not counted. The head takes V·hidden for each target, and as much again backward; its weights are
  /// not trained. Below the lowest layer with something to train there is no backward.
  ///
  /// - Parameters:
  ///   - documents: The tokens of each document.
  ///   - targets: How many tokens are to be predicted.
  public func multiplications(documents: [Int], targets: Int) -> [StageTimer.Stage: Int] {
    let rows = documents.reduce(0, +)
    var products = 0
    var gates = gateProducts(gate, rows, passesOn: false)
    var attention = 0
    for (index, tape) in blocks.enumerated() {
      let isPassed = lowest.map { index >= $0 } ?? false
      let passesOn = lowest.map { index > $0 } ?? false
      let layerGate = tape.gate
      func needs(_ tapes: [LinearTape]) -> Bool {
        tapes.contains { linear in
          linear.isTrained
            || linear.linear.experts != nil
              && (gate?.isTrained == true || layerGate?.isTrained == true
                || passesOn && layerGate?.dependsOnInput == true)
        }
      }
      let first = [tape.attention.query, tape.attention.key, tape.attention.value]
      let second = [tape.feedForward.gate, tape.feedForward.up]
      let reachesInputs = isPassed && (passesOn || needs(first))
      let reachesAttention = reachesInputs || isPassed && needs([tape.attention.output])
      let reachesSecond = reachesAttention || isPassed && needs(second)
      let reachesLast = reachesSecond || isPassed && needs([tape.feedForward.down])
      for (tapes, isReached, goesOn) in [
        (first, reachesInputs, passesOn), ([tape.attention.output], reachesAttention, reachesInputs),
        (second, reachesSecond, reachesAttention), ([tape.feedForward.down], reachesLast, reachesSecond),
      ] {
        for linear in tapes {
          let gate = linear.gate ?? layerGate ?? gate
          products += rows * Self.products(linear, gate, isReached: isReached, goesOn: goesOn)
          gates += gateProducts(linear.gate, rows, passesOn: goesOn)
        }
      }
      gates += gateProducts(layerGate, rows, passesOn: passesOn)
      let window = tape.block.attention.window ?? .max
      let pairs = documents.reduce(0) { sum, count in
        sum + (0..<count).reduce(0) { $0 + min($1 + 1, window) }
      }
      attention += pairs * tape.block.attention.query.outputs * (reachesInputs ? 6 : 2)
    }
    let goesBack = lowest != nil || gate?.isTrained == true
    let last = Self.products(
      head.head, head.head.gate ?? gate, isReached: goesBack || head.head.isTrained, goesOn: goesBack)
    return [.products: products, .attention: attention, .head: targets * last, .gates: gates]
  }

  /// Of one row.
  private static func products(_ tape: LinearTape, _ gate: GateTape?, isReached: Bool, goesOn: Bool) -> Int {
    let (weight, experts) = (tape.linear.weight, tape.linear.experts)
    let (inputs, outputs) = (weight.columns, weight.rows)
    func chosen(_ ranks: Int?) -> Int { gate?.gate.chosenPart(of: ranks ?? 0) ?? ranks ?? 0 }
    let (ranks, trained) = (chosen(experts?.ranks), chosen(experts?.trained?.ranks))
    var sum = inputs * outputs + ranks * (inputs + outputs)
    if isReached { sum += ranks * outputs + trained * (inputs + outputs) }
    if goesOn { sum += inputs * outputs + ranks * inputs }
    return sum
  }

  private func gateProducts(_ gate: GateTape?, _ rows: Int, passesOn: Bool) -> Int {
    guard let gate, let matrix = gate.gate.rows else { return 0 }
    return rows * matrix.count * (1 + (gate.isTrained ? 1 : 0) + (passesOn ? 1 : 0))
  }
}
