import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

@testable import LMoERuntime

import class LMoEFormat.Bundle

/// Runs that cannot learn say so in one sentence, before the first step where that is possible.
@Suite struct TrainingRefusalTests {
  private func sentence(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)".replacing(#/^.*\.lmoe: /#, with: "") }
    return "nothing"
  }

  private static func course(
    _ decider: TrainingPlan.Decider, gate: Bool = false, _ trained: [String] = []
  ) -> TrainingCourse {
    TrainingCourse(name: "", decider: decider, trainsGate: gate, trained: trained)
  }

  private static func begun(
    _ score: Gate.Score, _ scope: Gate.Scope, _ normaliser: Gate.Normaliser
  ) -> TrainingPlan.Decider {
    .newGate("g", Gate(score, scope: scope, normaliser: normaliser), hasNull: false, always: [])
  }

  private static let k1 =
    "the gate takes one expert and gives it the weight 1 whatever its score is, so that its gradient is zero; "
    + "make it anew with --top-k 1 --raw, or with a larger k"
  private static let constant =
    "a constant gate can be trained only if its scope is global; make it anew with --scope global"
  private static let nothing =
    "nothing is to be trained: name experts, or a gate that has numbers of its own"

  static let refused: [(TrainingCourse, String)] = [
    (course(begun(.linear, .layer, .topKRenormalised(1)), gate: true), k1),
    (course(begun(.prototype(.cosine), .module, .topKRenormalised(1)), gate: true, ["sql"]), k1),
    (course(begun(.constant(.uniform), .layer, .softmax), gate: true), constant),
    (course(begun(.constant(.uniform), .module, .none), gate: true, ["sql"]), constant),
    (course(.uniform), nothing),
    (course(begun(.linear, .layer, .softmax)), nothing),
    (course(.expert("sql")), nothing),
  ]

  @Test(arguments: refused)
  func `what could learn nothing`(course: TrainingCourse, expected: String) throws {
    let fixture = try RuntimeFixture()
    let ground = try course.ground(fixture)
    #expect(sentence { _ = try course.run(on: ground) } == expected)
  }

  @Test func `what comes near to it can be trained`() throws {
    let fixture = try RuntimeFixture()
    let ground = try Self.course(.uniform).ground(fixture)
    for course in [
      Self.course(Self.begun(.linear, .layer, .topKRaw(1)), gate: true),
      Self.course(Self.begun(.linear, .layer, .topKRenormalised(2)), gate: true),
      Self.course(Self.begun(.constant(.uniform), .global, .softmax), gate: true),
      // A gate that is not trained may be what it likes.
      Self.course(Self.begun(.linear, .layer, .topKRenormalised(1)), ["sql"]),
      Self.course(Self.begun(.constant(.uniform), .layer, .softmax), ["sql"]),
    ] {
      let run = try course.run(on: ground)
      let before = run.bits
      _ = try run.step()
      #expect(run.bits != before)
      #expect(run.takeWarnings() == [])
    }
  }

  @Test func `a bundle without experts`() throws {
    let fixture = try RuntimeFixture()
    var course = Self.course(.uniform)
    let ground = try TrainingCourse.Ground(fixture.bundle(base: "embedded/base"))
    let expected = "the bundle has no experts; add one with \"lmoe-tool add\""
    #expect(sentence { _ = try course.run(on: ground) } == expected)
    course.decider = Self.begun(.linear, .layer, .softmax)
    #expect(sentence { _ = try course.run(on: ground) } == expected)
    course.decider = .gate("g")
    #expect(sentence { _ = try course.run(on: ground) }.hasPrefix("there is no gate g"))
    course.decider = .expert("sql")
    #expect(sentence { _ = try course.run(on: ground) }.hasPrefix("there is no expert sql"))
  }

  @Test func `a loss that is no number changes nothing`() throws {
    let fixture = try RuntimeFixture()
    let course = Self.course(Self.begun(.linear, .layer, .softmax), gate: true, ["sql"])
    let ground = try course.ground(fixture)
    let run = try course.run(on: ground)
    let reference = try course.run(on: ground)
    for _ in 0..<2 { #expect(try run.step().timeless == reference.step().timeless) }
    let factor = try #require(run.model.parameters.first { $0.role == .b })
    let value = factor.values[0, 0]
    // Far beyond what a product can hold.
    for column in 0..<factor.values.width { factor.values[0, column] = 3e38 }
    let before = run.bits
    let progress = run.progress
    let cursor = run.stream.cursor
    #expect(
      sentence { _ = try run.step() }
        == "the loss is no longer a number in step 3; go on from the last checkpoint with a lower --rate, "
        + "a longer --rate-warmup or a lower --clip")
    #expect(run.bits == before && run.progress == progress)
    #expect(run.model.allGradients.allSatisfy { $0.allSatisfy { $0 == 0 } })
    // The same step again, as if nothing had been.
    #expect(run.stream.cursor == cursor)
    for column in 0..<factor.values.width {
      factor.values[0, column] =
        try #require(reference.model.parameters.first { $0.name == factor.name }).values[0, column]
    }
    #expect(factor.values[0, 0] == value)
    #expect(try run.step().timeless == reference.step().timeless)
    #expect(run.bits == reference.bits)
  }

  @Test func `tokens that the model does not have`() throws {
    // A tokenizer of 2048 tokens, and a model of 96.
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(
      base: "families/llama", experts: [("sql", "variants/llama/classic")])
    let ground = try TrainingCourse.Ground(bundle)
    let run = try Self.course(.uniform, ["sql"]).run(on: ground)
    let before = run.bits
    let found = sentence { _ = try run.step() }
    #expect(found.hasPrefix("there is no token ") && found.hasSuffix("; the model has 0 to 95"), "\(found)")
    #expect(run.bits == before && run.progress.step == 0)
  }

  // MARK: Warnings

  private static let dead =
    "every expert still changes nothing (B = 0), so that the gate has nothing to choose between and gets no "
    + "gradient; train the experts too"

  @Test func `a gate over experts that change nothing`() throws {
    // An expert as it begins, published before its first step.
    let fixture = try RuntimeFixture()
    var course = Self.course(.expert("fresh"))
    course.begun = ["fresh"]
    let ground = try course.ground(fixture)
    let begun = try course.run(on: ground)
    #expect(begun.takeWarnings() == [])
    try begun.trainedWeights(record: [:], isFirst: true).publish(to: ground.bundle.path, expecting: [])
    let bundle = try Bundle(path: ground.bundle.path)
    let grown = try TrainingCourse.Ground(bundle)
    var gate = Self.course(
      .newGate("g", Gate(.linear, scope: .layer, normaliser: .softmax), hasNull: true, always: []), gate: true
    )
    gate.members = ["fresh"]
    let run = try gate.run(on: grown)
    #expect(run.takeWarnings() == [Self.dead])
    let before = run.bits
    _ = try run.step()
    #expect(run.takeWarnings() == [])
    _ = try run.step()
    let second = "the gate gets no gradient at all: the run begins at a dead point and will not learn it"
    #expect(run.takeWarnings() == [second])
    _ = try run.step()
    #expect(run.takeWarnings() == [] && run.bits == before)
    // With the experts it moves, and nobody needs to know.
    gate.trained = ["fresh"]
    let both = try gate.run(on: grown)
    for _ in 0..<3 { _ = try both.step() }
    #expect(both.takeWarnings() == [] && both.bits != before)
    // Beside an expert that does something there is something to choose.
    (gate.trained, gate.members) = ([], ["fresh", "sql"])
    #expect(try gate.run(on: grown).takeWarnings() == [])
  }

  @Test func `experts that nobody can tell apart`() throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(
      base: "embedded/base",
      experts: [("one", "embedded/sql"), ("two", "embedded/sql"), ("three", "embedded/verse")])
    let ground = try TrainingCourse.Ground(bundle)
    let expected =
      "the experts one and two are the same and weighed the same: their gradients are alike, and training "
      + "cannot tell them apart; begin one of them anew, or the gate"
    #expect(try Self.course(.uniform, ["one"]).run(on: ground).takeWarnings() == [expected])
    let constant = Self.begun(.constant(.uniform), .global, .softmax)
    #expect(try Self.course(constant, gate: true).run(on: ground).takeWarnings() == [expected])
    // Rows differ from the start.
    let linear = Self.begun(.linear, .layer, .softmax)
    #expect(try Self.course(linear, gate: true, ["one", "two"]).run(on: ground).takeWarnings() == [])
    #expect(try Self.course(.expert("one"), ["one"]).run(on: ground).takeWarnings() == [])
  }

  @Test func `a gate that chooses one expert for everything`() {
    func metrics(_ use: [Float]) -> StepMetrics {
      StepMetrics(
        step: 1, tokens: 1, targets: 1, seconds: 0, loss: 1, gradientNorm: 1, rates: [], tokensPerSecond: 1,
        use: use)
    }
    func said(_ uses: [[Float]], columns: [String] = ["sql", ""]) -> [String] {
      var warnings = TrainingWarnings()
      for use in uses { warnings.look(at: metrics(use), columns: columns) }
      return warnings.take()
    }
    let alone = [[Float]](repeating: [0.99, 0.01], count: 19)
    #expect(said(alone) == [])
    let rest =
      " has had nearly all the weight for 20 steps; try --balance or --mutual-information, a lower --gate-rate, "
      + "or a new gate"
    #expect(said(alone + alone + alone) == ["the routing has collapsed: sql" + rest])
    // In a row only.
    #expect(said(alone + [[0.9, 0.1]] + alone) == [])
    #expect(
      said(alone.map { $0.reversed() } + [[0, 1]]) == ["the routing has collapsed: the bare base" + rest])
    // One column has nothing to choose from.
    #expect(said([[Float]](repeating: [1], count: 30), columns: ["sql"]) == [])
    // It is not said again after going on.
    var warnings = TrainingWarnings()
    for use in alone + [[1, 0]] { warnings.look(at: metrics(use), columns: ["a", "b"]) }
    #expect(warnings.take().count == 1 && warnings.take().isEmpty)
    var again = TrainingWarnings(warnings.json)
    for use in alone + alone { again.look(at: metrics(use), columns: ["a", "b"]) }
    #expect(again.take() == [])
    // Nor are the steps before forgotten.
    var half = TrainingWarnings()
    for use in alone { half.look(at: metrics(use), columns: ["a", "b"]) }
    var other = TrainingWarnings(half.json)
    other.look(at: metrics([1, 0]), columns: ["a", "b"])
    #expect(other.take().count == 1)
  }
}
