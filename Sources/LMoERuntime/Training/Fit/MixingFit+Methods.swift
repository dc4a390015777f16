import LMoECore
import LMoEExperts
import LMoEFormat

extension MixingFit {
  /// Tokens that go through the model together.
  private static let batch = 2048

  /// Follows the gradient with AdamW, from equal weights whose sum is 1; the rate falls along a cosine.
  ///
  /// - Parameters:
  ///   - steps: The steps.
  ///   - rate: The peak rate.
  ///   - seed: What the order of the texts follows from.
  ///   - progress: Called after each step with what a token cost in it.
  /// - Throws: `RuntimeError` with `diverged`.
  public func gradient(
    steps: Int, rate: Double = 0.05, seed: UInt64 = 0, progress: (Double) -> Void = { _ in }
  ) throws -> Result {
    let before = try loss()
    let optimizer = AdamW(
      training.parameters, settings: AdamW.Settings(), compute: training.model.compute)
    let schedule = Schedule(.cosine, total: steps, floor: 0.1)
    var order: [Int] = []
    var random = RandomSource(seed: seed)
    for step in 0..<steps {
      var batch: [TrainingModel.Document] = []
      var tokens = 0
      // Until a step is full, or has seen every text.
      while batch.count < documents.count {
        if order.isEmpty { order = documents.indices.shuffled(using: &random) }
        guard let next = order.last, batch.isEmpty || tokens + documents[next].tokens.count <= Self.batch
        else { break }
        order.removeLast()
        batch.append(documents[next])
        tokens += documents[next].tokens.count
      }
      let settings = TrainingModel.PassSettings(
        targets: batch.reduce(0) { $0 + $1.isTarget.count { $0 } }, rows: tokens)
      let result = training.run(batch, settings)
      let norm = optimizer.gradientNorm
      guard result.nats.isFinite, norm.isFinite else {
        throw RuntimeError(.diverged, path: training.model.base.bundle.path, found: "\(step + 1)")
      }
      let peak = rate * schedule.factor(at: step)
      optimizer.step(AdamW.Rates(gate: peak, a: 0, b: 0), norm: norm)
      training.clearGradients()
      training.refresh()
      progress(result.nats / Double(max(1, settings.targets)))
    }
    return self.result(before: before, after: try loss(), steps: steps)
  }

  /// Tries weights in −1.5 … 1.5, from 0 on, and only ever runs the model forward.
  ///
  /// Those stay for which loss + 0.05 · mean |w| is least.
  ///
  /// - Parameters:
  ///   - evaluations: How often texts are run.
  ///   - seed: What the tries follow from.
  ///   - progress: Called after each with what a token cost.
  /// - Throws: What `Model.forward` throws.
  public func search(
    evaluations: Int = 40, seed: UInt64 = 0, progress: (Double) -> Void = { _ in }
  ) throws -> Result {
    let before = try loss()
    var losses: [[Double]: Double] = [:]
    var search = EvolutionSearch(
      dimensions: vector.count, bounds: -1.5...1.5, seed: seed)
    let best = try search.minimise(evaluations: evaluations) { candidate in
      vector = candidate
      let nats = try loss()
      losses[candidate] = nats
      progress(nats)
      return nats + 0.05 * candidate.reduce(0) { $0 + $1.magnitude } / Double(max(1, candidate.count))
    }
    vector = best
    return result(before: before, after: try losses[best] ?? loss(), steps: evaluations)
  }
}
