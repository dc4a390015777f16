import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

extension TrainingSession {
  func weights(of step: Int? = nil) throws -> TrainedWeights {
    try run.trainedWeights(record: record(of: step ?? run.progress.step), isFirst: !isPublished)
  }

  /// The best values where there are held-out texts, and else the last.
  private func valuesToPublish() throws -> TrainedWeights {
    if run.progress.best?.step == 0, run.progress.step > 0 {
      note(
        command.file,
        ["no evaluation was better than the one before the first step; what it began with is published"])
    }
    guard let best, best.step != run.progress.step else { return try weights() }
    let last = run.snapshot()
    run.restore(best)
    defer { run.restore(last) }
    return try weights(of: best.step)
  }

  func publish(_ weights: TrainedWeights) throws {
    do {
      let publication = try weights.publish(
        to: target, expecting: stamps, output: isPublished ? nil : command.course.output,
        options: command.course.write.writerOptions(codec: base.isMapped ? .raw : .planes))
      (stamps, isPublished) = (publication.stamps, true)
      (generation, publishedStep) = (publication.generation, run.progress.step)
    } catch {
      // Nothing is lost: the state has what was trained, as it is now or else as it was saved last.
      do { try save() } catch { note(command.file, ["the state could not be saved: \(error)"]) }
      throw error
    }
    try record(.published, "generation \(generation)")
    // A run that goes on has to know that it was the one that changed the banks.
    try save()
  }

  /// How the experts and the gate were trained, for their cards.
  private func record(of step: Int) -> JSON {
    [
      "step": .integer(step), "tokens": .integer(run.progress.tokens),
      "seed": .integer(command.learning.seed), "loss": .double(lastLoss),
    ]
  }

  func finish() throws {
    let isThere = command.course.publish == .end ? publishedStep == run.progress.step : isPublished
    if !isThere { try publish(try valuesToPublish()) }
    try record(.end, "")
    if !command.course.keepState, PosixFileSystem().kind(names.state) != nil {
      try PosixFileSystem().remove(names.state)
    }
    display.clear()
    let progress = run.progress
    let output = command.course.output ?? command.file
    command.report.print(json(output)) {
      var line = "\(output.printable): trained \(what) in \(grouped(progress.step)) steps"
      line += ", \(grouped(progress.tokens)) tokens, \(duration(seconds: progress.seconds))"
      line += "; loss \(formatted(firstLoss ?? .nan, digits: 3)) → \(formatted(lastLoss, digits: 3))"
      if let best = progress.best {
        line += ", held-out \(formatted(best.nats, digits: 3)) (best, after step \(grouped(best.step)))"
      }
      Terminal.print(line)
      Terminal.print("\(output.printable): published as generation \(generation)")
    }
  }

  private var what: String {
    let experts = Set(run.plan.experts + run.plan.newExperts.map(\.name)).count
    let gate = run.plan.trainsGate ? "the gate" : ""
    let some = experts > 0 ? "\(experts) expert\(experts == 1 ? "" : "s")" : ""
    return [gate, some].filter { !$0.isEmpty }.joined(separator: " and ")
  }

  private func json(_ output: String) -> JSON {
    let progress = run.progress
    return [
      "schema": 1, "path": .string(output), "generation": .integer(generation),
      "step": .integer(progress.step), "tokens": .integer(progress.tokens),
      "targets": .integer(progress.targets), "seconds": .double(progress.seconds),
      "first_loss": firstLoss.map { .double($0) } ?? .null, "last_loss": .double(lastLoss),
      "best": progress.best.map { ["step": .integer($0.step), "nats": .double($0.nats)] } ?? .null,
    ]
  }
}
