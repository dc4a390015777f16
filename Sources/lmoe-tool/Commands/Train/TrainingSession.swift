import ArgumentParser
private import CLMoEKernels
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// One call of `lmoe-tool train`: from the options to the published bundle.
final class TrainingSession {
  let command: Train
  let run: TrainingRun
  let base: LoadedBase
  /// The words that make the same run again.
  let words: [String]
  let names: TrainingFiles
  /// The trained banks as they were at the beginning, or when they were last published.
  var stamps: [BankStamp]
  /// Whether something was published already.
  var isPublished = false
  /// The bundle that has it, or will.
  var target: String { isPublished ? command.course.output ?? command.file : command.file }
  var best: TrainingRun.Snapshot?
  /// Whether the best values have not been saved yet.
  var isBestNew = false
  var metrics: MetricsFile?
  var display: TrainingProgress
  /// The generation that was published last, and the step after which.
  var generation: UInt64 = 0
  var publishedStep: Int?
  var firstLoss: Double?
  var lastLoss = Double.nan

  /// Begins a run.
  init(_ command: Train) throws {
    self.command = command
    words = Train.words
    names = TrainingFiles(command)
    if !command.course.restart, PosixFileSystem().kind(names.state) != nil {
      throw RuntimeError(
        .untrainable, path: names.state,
        found: "a run was interrupted; go on with --resume, or begin anew with --restart")
    }
    if let output = command.course.output, PosixFileSystem().kind(output) != nil {
      throw FormatError(.alreadyExists, path: output)
    }
    let base = try command.options.load(command.file)
    self.base = base
    run = try TrainingSetup(command, base).run(members: nil, newIDs: [:])
    stamps = try run.trainedBanks.map { BankStamp(try base.bundle.bank($0)) }
    display = TrainingProgress(total: run.totalSteps, columns: run.model.model.gateColumns)
  }

  /// Goes on with a run.
  init(resuming given: Train) throws {
    let state = try Self.interrupted(TrainingFiles(given).state)
    let card = state.last.card
    let old = (card.run["arguments"]?.array ?? []).compactMap(\.string)
    // What is given now comes last, and so wins; the bundle is named already.
    let extra = Train.words.filter { !$0.hasSameBytes(as: given.file) }
    words = old + extra
    var command = try Train.parse(words)
    command.course.restart = false
    // It may be called from elsewhere.
    command.file = given.file
    self.command = command
    names = TrainingFiles(command)
    base = try command.options.load(command.file)
    isPublished = card.run["published"]?.bool ?? false
    guard card.bundle == base.bundle.header.fileUUID else {
      throw RuntimeError(
        .untrainable, path: names.state,
        found:
          "it is the state of a run on another file than \(command.file.printable); begin anew with --restart"
      )
    }
    let ids = (card.run["new"]?.array ?? []).compactMap { item -> (String, Bits128)? in
      guard let name = item["name"]?.string, let id = item["id"]?.string.flatMap(Bits128.init(hexadecimal:))
      else { return nil }
      return (name, id)
    }
    stamps = card.banks
    generation = card.run["generation"]?.number?.integer(UInt64.self) ?? 0
    publishedStep = card.run["published_step"]?.int
    let output = isPublished ? command.course.output : nil
    try stamps.require(in: try Bundle(path: output ?? command.file))
    let members = card.run["members"]?.array?.compactMap(\.string)
    try Self.requireMembers(members, in: base.bundle, state: names.state)
    run = try TrainingSetup(command, base).run(
      members: members,
      newIDs: Dictionary(ids.map { (ByteKey($0.0), $0.1) }, uniquingKeysWith: { first, _ in first }))
    display = TrainingProgress(total: run.totalSteps, columns: run.model.model.gateColumns)
    try run.restore(state)
    best = try run.best(of: state)
    metrics = try MetricsFile(resuming: names.metrics, at: run.progress.step)
    firstLoss = card.run["first_loss"]?.double
    lastLoss = card.run["last_loss"]?.double ?? .nan
    try record(.resumed, "from step \(run.progress.step)")
  }

  // MARK: The run

  /// Trains, evaluates, saves and publishes.
  func perform() throws {
    if metrics == nil {
      metrics = try MetricsFile(creating: names.metrics)
      try metrics?.append(.run(description))
    }
    try warn()
    lmoe_catch_interrupts()
    if run.progress.lastEvaluation == nil { try evaluate() }
    // A disk that is too small, or a second run on the same bundle, shows now and not after an hour.
    if run.progress.step == 0 { try save() }
    do { try takeSteps() } catch {
      // A run that has not come to a step has nothing to go on with.
      if run.progress.step == 0, !(error is ExitCode) { try? PosixFileSystem().remove(names.state) }
      throw error
    }
    if run.progress.lastEvaluation != run.progress.step { try evaluate() }
    try finish()
  }

  private func takeSteps() throws {
    while !run.isDone {
      if lmoe_interrupted() != 0 { try interrupt() }
      let step = try run.step()
      firstLoss = firstLoss ?? step.loss
      lastLoss = step.loss
      try metrics?.append(.step(step))
      display.step(step)
      try warn()
      if step.step % interval == 0, !run.isDone { try evaluate() }
      if step.step % command.course.saveEvery == 0, !run.isDone { try save() }
    }
  }

  private var interval: Int {
    command.course.evalEvery ?? command.learning.steps.map { max(1, $0 / 10) } ?? 100
  }

  private func interrupt() throws {
    try save()
    display.clear()
    Terminal.complain(
      "\(command.file.printable): interrupted after step \(run.progress.step); go on with "
        + "\"lmoe-tool train \(command.file.printable) --resume\"")
    throw ExitCode(130)
  }

  private func evaluate() throws {
    let start = monotonicNanoseconds()
    guard let evaluation = try run.evaluate() else { return }
    try metrics?.append(.evaluation(evaluation))
    if evaluation.isBest {
      // The beginning too: a run that only makes things worse publishes what it began with.
      (best, isBestNew) = (run.snapshot(), true)
      if command.course.publish == .best, run.progress.step > 0 { try publish(try weights()) }
    }
    display.clear()
    let domains = evaluation.domains.map { "\($0.domain.printable) \(formatted($0.nats, digits: 3))" }
    if !command.report.json {
      Terminal.complain(
        "step \(run.progress.step): held-out \(formatted(evaluation.nats, digits: 3)) nats/token"
          + (domains.count > 1 ? " (\(domains.joined(separator: ", ")))" : "")
          + (evaluation.isBest ? ", the best so far" : "")
          + ", \(formatted(Double(monotonicNanoseconds() - start) * 1e-9, digits: 1)) s")
    }
  }

  private func warn() throws {
    for sentence in run.takeWarnings() {
      display.clear()
      note(command.file, [sentence])
      try record(.warning, sentence)
    }
  }

  func record(_ kind: EventMetrics.Kind, _ message: String) throws {
    try metrics?.append(.event(EventMetrics(kind, step: run.progress.step, message: message)))
  }

  func save() throws {
    try metrics?.sync()
    var card = TrainingCard(step: run.progress.step, bundle: base.bundle.header.fileUUID, banks: stamps)
    card.run = [
      "arguments": .array(words.map(JSON.string)), "published": .bool(isPublished),
      "members": run.plan.members.map { .array($0.map(JSON.string)) } ?? .null,
      "new": .array(
        run.plan.newExperts.map { ["name": .string($0.name), "id": .string($0.id.description)] }),
      "generation": .integer(generation), "published_step": publishedStep.map { .integer($0) } ?? .null,
      "first_loss": firstLoss.map { .double($0) } ?? .null, "last_loss": .double(lastLoss),
    ]
    // What another run left there, before --restart, is not this one's.
    try run.save(to: names.state, card, best: isBestNew ? best : nil, keepsBest: best != nil)
    isBestNew = false
    try record(.checkpoint, names.state)
  }
}
