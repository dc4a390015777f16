import Foundation
import LMoECore
import LMoEExperts
import Testing

@testable import LMoERuntime

/// A run that is interrupted and goes on gives the same bits as one that is not.
@Suite struct ResumeTests {
  private static let linear = Gate(.linear, scope: .layer, normaliser: .softmax)

  static let courses: [TrainingCourse] = {
    var gate = TrainingCourse(
      name: "a new gate, supervised first",
      decider: .newGate("g", linear, hasNull: true, always: []), trainsGate: true)
    gate.settings.supervisedSteps = 3
    gate.settings.losses.balance = 0.1
    gate.weights = [2, 0.5, 1]

    var experts = TrainingCourse(
      name: "experts without a gate, two passes a step, dropout", decider: .uniform, trained: ["verse"])
    (experts.settings.tokensPerPass, experts.settings.passesPerStep) = (64, 2)
    experts.settings.dropout = 0.2
    experts.settings.budget = .tokens(1200)

    var both = TrainingCourse(
      name: "a new gate and a new expert beside old ones",
      decider: .newGate("g", linear, hasNull: false, always: ["sql"]), trainsGate: true,
      trained: ["sql", "verse"], begun: ["fresh"])
    both.settings.dropout = 0.1
    both.settings.losses.mutualInformation = 0.05
    both.recomputes = true

    var grown = TrainingCourse(
      name: "a gate of the bundle that learns of a new expert", decider: .gate("stored"), trainsGate: true,
      begun: ["fresh"])
    grown.settings.optimizer.decay = 0.1
    grown.settings.supervisedSteps = 2

    var alone = TrainingCourse(
      name: "one new expert alone", decider: .expert("fresh"), begun: ["fresh"], weights: [1, 1, 1])
    alone.settings.shape = .linear
    alone.settings.rateFloor = 0.1
    return [gate, experts, both, grown, alone]
  }()

  /// The steps of a whole run, and its bits at the end.
  private func whole(_ run: TrainingRun) throws -> (steps: [StepMetrics], bits: [[UInt32]]) {
    var steps: [StepMetrics] = []
    while !run.isDone { steps.append(try run.step().timeless) }
    return (steps, run.bits)
  }

  private static func card(_ course: TrainingCourse, _ ground: TrainingCourse.Ground) -> TrainingCard {
    TrainingCard(step: 0, bundle: ground.bundle.header.fileUUID, banks: [], run: ["mine": "kept"])
  }

  /// Ten interruptions of each run, some of them twice between two steps, with one worker and two in turn.
  @Test(arguments: courses)
  func `interrupted at any step`(course: TrainingCourse) throws {
    let fixture = try RuntimeFixture()
    let ground = try course.ground(fixture)
    let expected = try whole(course.run(on: ground, workers: 1))
    let count = expected.steps.count
    #expect(count >= 6)
    var random = TinyReference(seed: course.name.utf8.count)
    let points = (0..<10).map { _ in random.integer(below: count) }.sorted()
    let files = SimulatedFileSystem()
    var run = try course.run(on: ground)
    var best: [[Float]]?
    for (number, point) in points.enumerated() {
      while run.progress.step < point {
        let step = try run.step().timeless
        #expect(step == expected.steps[step.step - 1], "after interruption \(number)")
      }
      // The values of a best evaluation come with some savings, and stay through the others.
      let snapshot = number % 3 == 1 ? run.snapshot() : nil
      try run.save(to: "run.train", Self.card(course, ground), best: snapshot, in: files)
      best = snapshot?.values ?? best
      // What happens after the state was saved is forgotten.
      if number % 2 == 0 { _ = try run.step() }
      let state = try TrainingState(path: "run.train", in: files)
      #expect(state.last.card.step == point && state.last.card.run["mine"] == "kept")
      run = try course.run(on: ground, workers: 1 + number % 2)
      // Even a run that has come further goes back.
      if number % 4 == 3 { _ = try run.step() }
      try run.restore(state)
      #expect(run.progress.step == point)
      #expect(try run.best(of: state)?.values == best)
    }
    let rest = try whole(run)
    #expect(rest.steps == Array(expected.steps.dropFirst(points.last ?? 0)))
    #expect(rest.bits == expected.bits)
  }

  @Test(arguments: courses.prefix(3))
  func `the same seed, the same bits`(course: TrainingCourse) throws {
    var course = course
    course.settings.budget = .steps(3)
    let fixture = try RuntimeFixture()
    let ground = try course.ground(fixture)
    let first = try whole(course.run(on: ground, workers: 1))
    let again = try whole(course.run(on: ground, workers: 2))
    #expect(first.steps == again.steps && first.bits == again.bits)
    let other = try whole(course.run(on: ground, workers: 1, seed: 6))
    #expect(first.steps != other.steps && first.bits != other.bits)
  }

  @Test func `masks of dropout follow the seed alone`() throws {
    // The same texts in the same order, the same values at the beginning: only masks can differ.
    var course = Self.courses[1]
    course.settings.budget = .steps(2)
    let fixture = try RuntimeFixture()
    let ground = try course.ground(fixture)
    func losses(_ dropout: Double) throws -> [Double] {
      course.settings.dropout = dropout
      return try whole(course.run(on: ground)).steps.map(\.loss)
    }
    let (first, second) = (try losses(0.2), try losses(0))
    #expect(first[0] != second[0])
    #expect(try losses(0.2) == first)
  }

  @Test func `what does not fit is refused by name`() throws {
    let fixture = try RuntimeFixture()
    let ground = try Self.courses[0].ground(fixture)
    let files = SimulatedFileSystem()
    let run = try Self.courses[0].run(on: ground)
    _ = try run.step()
    try run.save(to: "run.train", Self.card(Self.courses[0], ground), best: nil, in: files)
    let state = try TrainingState(path: "run.train", in: files)
    // Another plan has other tensors.
    let other = try Self.courses[1].run(on: ground)
    #expect {
      try other.restore(state)
    } throws: { error in
      "\(error)"
        == "run.train has no tensor \"value/model.layers.0.self_attn.q_proj.A\", which this run trains; go on with "
        + "the options that it was begun with, or begin anew with another file"
    }
    // Other texts.
    var course = Self.courses[0]
    course.weights = nil
    let sources = [
      TrainingSource(path: RuntimeFixture.path("embedded/text/sql.test.jsonl"), domain: "sql")
    ]
    let stream = try TrainingStream(
      sources, settings: TrainingDataFixture.settings(64, end: 0), tokenizer: TrainingDataFixture.tokenizer)
    let elsewhere = try TrainingRun(run.plan, course.settings, on: ground.bases[0], stream: stream)
    #expect {
      try elsewhere.restore(state)
    } throws: { error in
      "\(error)".contains("the interrupted run read 3 files of 3 sources, and now there are 1 of 1")
    }
  }
}
