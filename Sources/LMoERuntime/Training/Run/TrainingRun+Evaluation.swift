extension TrainingRun {
  /// Evaluates the model as it is with the held-out texts.
  ///
  /// - Parameters:
  ///   - progress: Called with the number of tokens that went through.
  /// - Returns: What they cost, and what the gates decided for each kind of text; nil without such texts.
  /// - Throws: What `Model.forward` throws.
  public func evaluate(progress report: (Int) -> Void = { _ in }) throws -> EvaluationMetrics? {
    guard let heldOut else { return nil }
    var domains: [EvaluationMetrics.Domain] = []
    var total = Evaluation()
    for group in heldOut.groups where !group.samples.isEmpty {
      let recorder = RoutingRecorder(columns: model.model.gateColumns, keepsTokens: false)
      let result = try Evaluation.of(
        group.samples, by: model.model, context: settings.context,
        recorder: model.routing == nil ? nil : recorder, progress: report)
      total.add(result)
      domains.append(
        EvaluationMetrics.Domain(
          domain: group.domain, nats: result.natsPerToken, tokens: result.tokens,
          weights: recorder.places.map { recorder.means(at: $0) }))
    }
    guard total.tokens > 0 else { return nil }
    progress.lastEvaluation = progress.step
    let nats = total.natsPerToken
    let isBest = nats < (progress.best?.nats ?? .infinity)
    if isBest {
      progress.best = RunProgress.Best(step: progress.step, nats: nats)
      progress.evaluationsSinceBest = 0
    } else {
      progress.evaluationsSinceBest += 1
    }
    return EvaluationMetrics(
      step: progress.step, tokens: total.tokens, nats: nats, isBest: isBest, domains: domains)
  }

  /// The places where gates decide, in the order of the weights of an evaluation.
  public var places: [String] { model.routing == nil ? [] : model.gates.map(\.gate.name) }
}
