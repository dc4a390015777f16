import ArgumentParser
import LMoECore
import LMoEExperts
import LMoERuntime

/// The command `lmoe-tool bench train`.
struct BenchTrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Time training steps of a mixture on a model of random weights.",
    discussion: """
      New experts adapt all linear layers, and a gate for each layer weighs all of them, or with --top the \
      best; both are trained, on random tokens all of which are to be predicted. The floor of a step is \
      multiplying its matrices at the pace at which this machine is measured, between the steps, to multiply \
      and add floats in registers; loads, norms, activations, softmax and the optimizer come on top.
      """)

  @Option(name: .long, help: "The shape of the model.")
  var shape: ModelShape

  @Option(name: .long, help: "How many experts there are.")
  var experts = 4

  @Option(name: .long, help: "How many of them a token gets; all if not given.")
  var top: Int?

  @Option(name: .long, help: "Their rank.")
  var rank = 16

  @Option(name: .long, help: "Texts in a step.")
  var documents = 4

  @Option(name: .long, help: "Tokens of a text.")
  var length = 256

  @Option(name: .long, help: "Steps; the median counts.")
  var steps = 5

  @Option(name: .long, help: "Threads; all cores if not given.")
  var threads: Int?

  @Option(name: .long, help: "How the weights of the base are stored.")
  var weights = SyntheticBase.WeightType.f32

  @Flag(name: .long, help: "Keep only the inputs of layers, and compute the rest again on the way back.")
  var recompute = false

  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard experts > 0, rank > 0, documents > 0, length > 1, steps > 0 else {
      throw ValidationError(
        "--experts, --rank, --documents and --steps are at least 1, --length at least 2.")
    }
    if let top, !(1...experts).contains(top) { throw ValidationError("--top is 1 to the number of experts.") }
    if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads is 1 to 1024.") }
  }

  func run() throws {
    let pool = threads.map { WorkerPool(count: $0) } ?? .shared
    let base = try SyntheticBase.load(shape, weights, on: pool)
    // Among the best one alone the gate has no gradient.
    let normaliser = top.map { $0 == 1 ? Gate.Normaliser.topKRaw($0) : .topKRenormalised($0) } ?? .softmax
    let gate = Gate(.linear, scope: .layer, normaliser: normaliser)
    var plan = TrainingPlan(
      .newGate("bench", gate, hasNull: false, always: []), trainsGate: true,
      newExperts: try (1...experts).map { number in
        try NewExpert(
          "expert\(number)", rank: rank, alpha: Double(rank), targets: [NewExpert.allLinear],
          on: base.description)
      })
    plan.recomputes = recompute
    let training = try TrainingMeasurement(plan, on: base, documents: documents, length: length)
    var result = TrainingRates(training)
    // The first step warms up.
    _ = training.step()
    for _ in 0..<steps {
      result.add(
        training.step(), operations: MultiplyAddPeak.measure(on: pool),
        products: MatrixThroughput.measure(on: pool, rounds: 3))
    }
    let memory = peakMemory()
    report.print(json(result, threads: pool.count, memory)) { print(result, threads: pool.count, memory) }
  }

  private func print(_ result: TrainingRates, threads: Int, _ memory: Int?) {
    func line(_ name: String, _ text: String) {
      Terminal.print(name + String(repeating: " ", count: 8 - name.utf8.count) + text)
    }
    line(
      "speed",
      "\(formatted(result.rate, digits: 0)) tokens/s, the best of \(steps) steps "
        + "\(formatted(result.bestRate, digits: 0))")
    line(
      "floor",
      "\(formatted(result.floorRate, digits: 0)) tokens/s: \(formatted(result.gigaflops, digits: 1)) GFLOP "
        + "a step at \(formatted(result.operations.median / 1e9, digits: 0)) GFLOP/s; large products get to "
        + "\(formatted(result.products.median / 1e9, digits: 0))")
    line("share", "\(formatted(100 * result.share, digits: 0)) %")
    if let memory { line("memory", "\(formatted(bytes: memory)) at most") }
    var table = Table([
      ("stage", .left), ("s/step", .right), ("of step", .right), ("GFLOP", .right), ("GFLOP/s", .right),
    ])
    for stage in StageTimer.Stage.allCases {
      let (seconds, work) = (result.seconds(stage), result.gigaflops(stage))
      table.add([
        stage.rawValue, formatted(seconds, digits: 4),
        formatted(100 * seconds / result.seconds.median, digits: 1) + " %",
        work > 0 ? formatted(work, digits: 2) : "", work > 0 ? formatted(work / seconds, digits: 0) : "",
      ])
    }
    for line in table.lines { Terminal.print(line) }
    Terminal.print(
      "\(shape.rawValue), \(weights.rawValue); \(experts) experts of rank \(rank)"
        + (top.map { ", \($0) for each token" } ?? "") + "; \(documents) texts of "
        + "\(length) tokens; \(threads) threads; \(result.parameters) parameters trained")
  }

  private func json(_ result: TrainingRates, threads: Int, _ memory: Int?) -> JSON {
    var report = JSONObject()
    report["schema"] = 1
    report["shape"] = .string(shape.rawValue)
    report["weights"] = .string(weights.rawValue)
    report["threads"] = .integer(threads)
    report["experts"] = .integer(experts)
    report["top"] = top.map { .integer($0) } ?? .null
    report["rank"] = .integer(rank)
    report["documents"] = .integer(documents)
    report["length"] = .integer(length)
    report["steps"] = .integer(steps)
    report["recompute"] = .bool(recompute)
    report["trained_parameters"] = .integer(result.parameters)
    report["tokens_s"] = .double(result.rate)
    report["best_tokens_s"] = .double(result.bestRate)
    report["floor_tokens_s"] = .double(result.floorRate)
    report["share"] = .double(result.share)
    report["gflop"] = .double(result.gigaflops)
    report["fma_gflop_s"] = .double(result.operations.median / 1e9)
    report["matrix_gflop_s"] = .double(result.products.median / 1e9)
    report["peak_memory_bytes"] = memory.map { .integer($0) } ?? .null
    report["losses"] = .array(result.losses.map { .double($0) })
    report["stages"] = .object(
      StageTimer.Stage.allCases.map { stage in
        (
          stage.rawValue,
          ["seconds": .double(result.seconds(stage)), "gflop": .double(result.gigaflops(stage))]
        )
      })
    return .object(report)
  }
}

/// What training steps came to, beside what the machine allows.
struct TrainingRates {
  private let tokens: Int
  private let multiplications: [StageTimer.Stage: Int]
  /// The number of parameters that are trained.
  let parameters: Int
  /// Seconds of each step.
  private(set) var seconds: [Double] = []
  /// Multiplications and additions a second in registers, and of large matrices, measured after each step.
  private(set) var operations: [Double] = []
  private(set) var products: [Double] = []
  /// The loss before each step, in nats.
  private(set) var losses: [Double] = []
  private var stages: [[StageTimer.Stage: Double]] = []

  init(_ training: TrainingMeasurement) {
    (tokens, multiplications) = (training.tokens, training.multiplications)
    parameters = training.parameterCount
  }

  mutating func add(_ step: TrainingMeasurement.Step, operations rate: Double, products pace: Double) {
    seconds.append(step.seconds)
    operations.append(rate)
    products.append(pace)
    losses.append(step.loss)
    stages.append(step.stages)
  }

  /// Tokens a second: the median, that of the best step, and what multiplications alone would allow.
  var rate: Double { Double(tokens) / seconds.median }
  var bestRate: Double { Double(tokens) / (seconds.min() ?? .nan) }
  var floorRate: Double { Double(tokens) / (gigaflops * 1e9) * operations.median }
  /// The part of a step's time that its multiplications would take in registers.
  var share: Double { zip(seconds, operations).map { gigaflops * 1e9 / $1 / $0 }.median }
  /// Of a step, in 10⁹ multiplications and additions.
  var gigaflops: Double { StageTimer.Stage.allCases.reduce(0) { $0 + gigaflops($1) } }
  func gigaflops(_ stage: StageTimer.Stage) -> Double { 2e-9 * Double(multiplications[stage] ?? 0) }
  /// Seconds a step.
  func seconds(_ stage: StageTimer.Stage) -> Double { stages.map { $0[stage] ?? 0 }.median }
}
