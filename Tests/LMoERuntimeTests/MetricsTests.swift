import LMoECore
import LMoERuntime
import Testing

/// The metrics file of a training run.
@Suite struct MetricsTests {
  static let run = RunMetrics(
    time: "2026-11-21 15:00:00", bundle: "a.lmoe", trains: .both,
    experts: [.init(name: "sql", rank: 8, parameters: 112_640, isNew: false, isTrained: true)],
    gate: .init(
      name: "default", score: "linear", scope: "layer", normaliser: "softmax", k: nil, temperature: 0.5,
      parameters: 1548, isTrained: true, isNew: true),
    domains: ["sql", "e\u{301}"], columns: ["sql", ""], places: ["model.layers.0"],
    options: [.init("batch", 8), .init("schedule", "cosine")], steps: 400)

  static func step(_ step: Int, loss: Double = 2.5) -> StepMetrics {
    StepMetrics(
      step: step, tokens: step * 4096, targets: step * 3000, seconds: Double(step) * 0.5, loss: loss,
      auxiliary: [.init("balance", 1.0625), .init("z", 0.25)], gradientNorm: 0.75,
      rates: [.init("gate", 0.001953125), .init("b", 0.0)], tokensPerSecond: 5100.5, use: [0.25, 0.75],
      entropy: 0.875)
  }

  static func evaluation(_ step: Int) -> EvaluationMetrics {
    EvaluationMetrics(
      step: step, tokens: 1800, nats: 2.125, isBest: true,
      domains: [.init(domain: "sql", nats: 1.25, tokens: 900, weights: [[0.5, 0.5]])])
  }

  static let lines: [MetricsLine] =
    [.run(run), .evaluation(evaluation(0)), .step(step(1)), .step(step(2)), .evaluation(evaluation(2))]
    + EventMetrics.Kind.allCases.map { .event(EventMetrics($0, step: 2, message: "a \"b\"\n\u{1B}")) }

  private static func text(_ lines: [MetricsLine]) -> [UInt8] {
    Array(lines.map { $0.json.serialized() + "\n" }.joined().utf8)
  }

  private static func read(_ text: String) throws -> TrainingMetrics {
    try TrainingMetrics(path: "m.jsonl", bytes: Array(text.utf8))
  }

  private static let runText = run.line + "\n"

  @Test func `what is written is read`() throws {
    let metrics = try TrainingMetrics(path: "m.jsonl", bytes: Self.text(Self.lines))
    #expect(metrics.run == Self.run)
    #expect(metrics.steps == [Self.step(1), Self.step(2)])
    #expect(metrics.evaluations == [Self.evaluation(0), Self.evaluation(2)])
    #expect(metrics.events.map(\.kind) == EventMetrics.Kind.allCases)
    #expect(metrics.events.allSatisfy { $0.step == 2 && $0.message == "a \"b\"\n\u{1B}" })
  }

  @Test func `numbers are short, and what is not finite is null`() throws {
    var step = Self.step(1, loss: .nan)
    step.gradientNorm = .infinity
    step.seconds = 1 / 3
    step.use = [1 / 3, .nan]
    let text = MetricsLine.step(step).json.serialized()
    #expect(text.contains("\"loss\":null,") && text.contains("\"gradientNorm\":null,"))
    #expect(text.contains("\"seconds\":0.33333334,") && text.contains("\"use\":[0.3333,null]"))
    let read = try #require(try Self.read(Self.runText + text + "\n").steps.first)
    #expect(read.loss.isNaN && read.gradientNorm.isNaN && read.use[0] == 0.3333 && read.use[1].isNaN)
  }

  @Test func `little is enough, and what is unknown is skipped`() throws {
    let metrics = try Self.read(
      """
      {"schema":1,"kind":"run","bundle":"b","trains":"gate","gate":null,"later":[1]}

      {"kind":"something else","step":"none"}
      {"kind":"step","step":3.0,"later":{}}\r
      {"kind":"evaluation","step":3,"domains":[{"domain":"x","weights":[null,[null,1]]}]}
      {"kind":"end","step":3}

      """)
    #expect(metrics.run.gate == nil && metrics.run.steps == nil && metrics.run.columns == [])
    let step = try #require(metrics.steps.first)
    #expect(step.step == 3 && step.loss.isNaN && step.entropy == nil && step.use == [])
    #expect(metrics.evaluations[0].domains[0].weights.map(\.count) == [0, 2])
    #expect(metrics.events == [EventMetrics(.end, step: 3)])
  }

  @Test func `a torn last line is ignored`() throws {
    let whole = Self.text(Self.lines)
    let last = try #require(whole.dropLast().lastIndex(of: 0x0A)) + 1
    for end in [last, last + 1, last + 20, whole.count - 2] {
      let metrics = try TrainingMetrics(path: "m", bytes: Array(whole[..<end]))
      #expect(metrics.events.count == EventMetrics.Kind.allCases.count - 1)
    }
    // A machine that stopped may leave zeros.
    let zeros = try TrainingMetrics(path: "m", bytes: whole + [UInt8](repeating: 0, count: 100))
    #expect(zeros.events.count == EventMetrics.Kind.allCases.count)
  }

  static let damage: [(line: String, sentence: String)] = [
    ("{\"kind\":\"step\"", "the text ends too early (byte 14)"),
    ("[1]", "it is not an object"),
    ("{\"step\":1}", "\"kind\" is missing"),
    ("{\"kind\":\"step\"}", "\"step\" is missing"),
    ("{\"kind\":\"step\",\"step\":-1}", "\"step\" is not a count"),
    ("{\"kind\":\"step\",\"step\":1.5}", "\"step\" is not a count"),
    ("{\"kind\":\"step\",\"step\":1,\"loss\":\"low\"}", "\"loss\" is not a number"),
    ("{\"kind\":\"step\",\"step\":1,\"use\":[[]]}", "\"use\" is not a list of numbers"),
    ("{\"kind\":\"step\",\"step\":1,\"rates\":[]}", "\"rates\" is not an object"),
    ("{\"kind\":\"evaluation\",\"step\":1,\"domains\":[1]}", "it is not an object"),
    (
      "{\"kind\":\"evaluation\",\"step\":1,\"domains\":[{\"domain\":\"x\",\"weights\":[1]}]}",
      "\"weights\" is not a list of lists of numbers"
    ),
    ("{\"schema\":2,\"kind\":\"run\"}", "its schema is 2, and this tool reads 1"),
    (
      "{\"schema\":1,\"kind\":\"run\",\"trains\":\"all\"}",
      "\"trains\" is not \"both\", \"gate\" or \"experts\""
    ),
    ("{\"kind\":\"end\",\"step\":1,\"message\":3}", "\"message\" is not a text"),
  ]

  @Test(arguments: damage) func `any other damaged line is named`(line: String, sentence: String) throws {
    let error = #expect(throws: RuntimeError.self) {
      try Self.read(Self.runText + line + "\n" + Self.step(1).line + "\n")
    }
    #expect(
      error?.description == "m.jsonl: line 2: \(sentence); take the line out to read the others")
  }

  @Test(arguments: ["", "\n", "{\"kind\":\"later\"}\n"]) func `something else`(text: String) throws {
    let error = #expect(throws: RuntimeError.self) { try Self.read(text) }
    #expect(
      error?.description
        == "m.jsonl: it has no line of the kind \"run\", so it is not the metrics of a training run")
  }

  @Test func `steps that come again count once`() throws {
    let metrics = try Self.read(
      Self.runText + [1, 2, 3].map { Self.step($0).line + "\n" }.joined() + Self.step(2, loss: 9).line + "\n")
    #expect(metrics.steps.map(\.step) == [1, 2] && metrics.steps[1].loss == 9)
  }

  // MARK: Writing

  @Test func `a file grows line by line, and goes on where it was`() throws {
    let system = SimulatedFileSystem()
    let file = try MetricsFile(creating: "m", in: system)
    for line in Self.lines { try file.append(line) }
    try file.append(.step(Self.step(3)))
    try file.append(.evaluation(Self.evaluation(3)))
    #expect(
      try Self.contents("m", system)
        == Self.text(Self.lines + [.step(Self.step(3)), .evaluation(Self.evaluation(3))]))

    let again = try MetricsFile(resuming: "m", at: 2, in: system)
    #expect(try Self.contents("m", system) == Self.text(Self.lines))
    try again.append(.event(EventMetrics(.resumed, step: 2)))
    #expect(
      try Self.contents("m", system) == Self.text(Self.lines + [.event(EventMetrics(.resumed, step: 2))]))

    _ = try MetricsFile(resuming: "m", at: 0, in: system)
    #expect(try Self.contents("m", system) == Self.text(Array(Self.lines.prefix(2))))
    _ = try MetricsFile(creating: "m", in: system)
    #expect(try Self.contents("m", system) == [])
  }

  @Test func `a torn line is cut off before the run goes on`() throws {
    for torn in ["{\"kind\":\"st", Self.step(2).line] {
      let system = SimulatedFileSystem()
      let whole = Self.text([.run(Self.run), .step(Self.step(1))])
      try system.open("m", .createNew).write(whole + Array(torn.utf8), at: 0)
      let file = try MetricsFile(resuming: "m", at: 2, in: system)
      #expect(try Self.contents("m", system) == whole)
      try file.append(.step(Self.step(2)))
      #expect(try Self.contents("m", system) == whole + Array((Self.step(2).line + "\n").utf8))
    }
  }

  private static func contents(_ path: String, _ system: SimulatedFileSystem) throws -> [UInt8] {
    let file = try system.open(path, .read)
    return try file.bytes(at: 0, count: Int(try file.size()))
  }
}

extension RunMetrics {
  /// As the file has it.
  var line: String { MetricsLine.run(self).json.serialized() }
}

extension StepMetrics {
  /// As the file has it.
  var line: String { MetricsLine.step(self).json.serialized() }
}
