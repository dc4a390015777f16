import CLMoEKernels

extension Model {
  /// What the time of a single token is spent on.
  public enum DecodeStage: String, CaseIterable, Sendable {
    /// Queries, keys, values and what mixes them, with the experts' factors that are taken along.
    case projections
    /// Queries with keys, and the mixed values.
    case attention
    /// The three linear layers that follow, with the experts' factors that are taken along.
    case feedForward = "feed-forward"
    /// The last norm and the logits.
    case head
    /// A·x where it is computed by itself.
    case factors
    /// Scores of gates with many rows.
    case gates
    /// Workers that wait for others.
    case waiting
  }

  /// Times what `body` has the model do; that takes a little longer then.
  ///
  /// - Returns: Seconds by stage: of passes with several rows, and of single tokens.
  public func timed(
    _ body: () throws -> Void
  ) rethrows -> (passes: [StageTimer.Stage: Double], tokens: [DecodeStage: Double]) {
    let timer = StageTimer()
    compute.timer = timer
    decodes { $0.startTiming() }
    defer {
      compute.timer = nil
      decodes { $0.stopTiming() }
    }
    try body()
    timer.stop()
    var tokens: [DecodeStage: Double] = [:]
    decodes { tokens = $0.seconds }
    return (timer.seconds, tokens)
  }

  private func decodes(_ body: (Decoder) -> Void) {
    if let decoder { body(decoder) }
  }
}

extension Decoder {
  fileprivate func startTiming() {
    clearTimes()
    setTiming(true)
  }

  fileprivate func stopTiming() { setTiming(false) }

  /// Seconds of the first worker, by stage.
  fileprivate var seconds: [Model.DecodeStage: Double] {
    let places: [(Model.DecodeStage, Int)] = [
      (.gates, LMOE_TIME_GATES), (.factors, LMOE_TIME_DOWN), (.projections, LMOE_TIME_ATTENTION_WEIGHTS),
      (.attention, LMOE_TIME_ATTENTION), (.feedForward, LMOE_TIME_FEED_FORWARD), (.head, LMOE_TIME_HEAD),
      (.waiting, LMOE_TIME_WAITING),
    ]
    return Dictionary(uniqueKeysWithValues: places.map { ($0.0, Double(nanoseconds($0.1)) * 1e-9) })
  }
}
