import LMoECore

/// All that a metrics file says of a run.
public struct TrainingMetrics: Hashable, Sendable {
  /// What is trained; of a resumed run what it said last.
  public var run: RunMetrics
  /// The steps, in order.
  public var steps: [StepMetrics]
  /// The evaluations, in order.
  public var evaluations: [EvaluationMetrics]
  /// What happened, in order.
  public var events: [EventMetrics]

  /// Makes metrics of their parts.
  public init(
    run: RunMetrics, steps: [StepMetrics], evaluations: [EvaluationMetrics], events: [EventMetrics]
  ) {
    (self.run, self.steps, self.evaluations, self.events) = (run, steps, evaluations, events)
  }

  /// Where the metrics of a bundle are: beside it.
  public static func path(ofBundle bundle: String) -> String { bundle + ".metrics.jsonl" }

  /// Reads the bytes of a metrics file.
  ///
  /// Unknown kinds and fields are skipped, and so is a last line that was torn. Where steps come again, as in
  /// a file that was not cut before the run went on, the later ones count.
  ///
  /// - Throws: `RuntimeError` with `invalid-data` that names the line.
  public init(path: String, bytes: [UInt8]) throws(RuntimeError) {
    var run: RunMetrics?
    var (steps, evaluations, events) = ([StepMetrics](), [EvaluationMetrics](), [EventMetrics]())
    try MetricsLine.read(path: path, bytes: bytes) { line, _ in
      switch line {
      case .run(let value): run = value
      case .step(let value):
        while let last = steps.last, last.step >= value.step { steps.removeLast() }
        steps.append(value)
      case .evaluation(let value):
        while let last = evaluations.last, last.step >= value.step { evaluations.removeLast() }
        evaluations.append(value)
      case .event(let value): events.append(value)
      }
      return true
    }
    guard let run else {
      throw RuntimeError(
        .invalidData, path: path,
        found: "it has no line of the kind \"run\", so it is not the metrics of a training run")
    }
    self.init(run: run, steps: steps, evaluations: evaluations, events: events)
  }
}

extension MetricsLine {
  /// Reads line after line, until `take` returns false; with each the offset at which it begins.
  ///
  /// - Throws: `RuntimeError` with `invalid-data` that names the line.
  static func read(
    path: String, bytes: [UInt8], _ take: (MetricsLine, Int) -> Bool
  ) throws(RuntimeError) {
    var start = 0
    var number = 0
    while start < bytes.count {
      number += 1
      let end = bytes[start...].firstIndex(of: 0x0A)
      let text = bytes[start..<(end ?? bytes.count)]
      defer { start = (end ?? bytes.count) + 1 }
      if text.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
      let line: MetricsLine?
      do throws(MetricsProblem) { line = try parse(text) } catch {
        // What has no end was being written when the machine stopped.
        if end == nil { return }
        throw RuntimeError(
          .invalidData, path: path, name: "\(number)",
          found: "\(error.sentence); take the line out to read the others")
      }
      if let line, !take(line, start) { return }
    }
  }

  private static func parse(_ bytes: ArraySlice<UInt8>) throws(MetricsProblem) -> MetricsLine? {
    let json: JSON
    do throws(JSONError) { json = try JSON(parsing: Array(bytes)) } catch {
      throw MetricsProblem(sentence: error.description)
    }
    return try MetricsLine(json)
  }
}
