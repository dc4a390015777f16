public import ArgumentParser
import LMoECore
import LMoEFormat
public import LMoERuntime

extension KVCache.Precision: ExpressibleByArgument {}

/// The command `lmoe-tool bench run`.
struct BenchRun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Time reading a prompt and writing tokens, with experts and without.",
    discussion: """
      Prompts are random tokens; the next token is the most likely one. The chosen experts and the bare base \
      take turns in one process, with prompts by rounds and with tokens every 16; figures are medians, costs \
      those of neighbours in time. The floor of decoding is reading each weight once, that \
      of a prompt is multiplying them, both at the pace this machine is measured to have: memory with as many \
      bytes as the model has weights, some of which caches may keep; floats that are multiplied and added in \
      registers. Integers, as which quantized weights are multiplied, can be faster than that. Beside it stands \
      what large products of such matrices get to. What the time is spent on is of one more \
      round; what single tokens are spent on is what one worker sees.
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(name: .long, help: "Tokens of the prompt that is read at once.")
  var prompt = 512

  @Option(name: .long, help: "Tokens to write.")
  var tokens = 128

  @Option(name: .long, help: "Tokens that are there before those are written.")
  var depth = 16

  @Option(name: .long, help: "Rounds; the median counts.")
  var `repeat` = 5

  @Option(name: .long, help: "How keys and values are kept.")
  var cache = KVCache.Precision.f32

  @OptionGroup var select: SelectionOptions
  @OptionGroup var options: RunOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard prompt > 0, depth > 0, `repeat` > 0, tokens > 1 else {
      throw ValidationError("--prompt, --depth and --repeat are at least 1, --tokens at least 2.")
    }
  }

  func run() throws {
    let base = try options.load(file)
    let pool = options.pool
    let selection = try select.selection(in: base.bundle)
    var models = [try Model(base)]
    if selection != .base { models.append(try Model(base, selection: selection)) }
    var runs = models.map { InferenceMeasurement($0, prompt: prompt, tokens: tokens, depth, cache) }
    var floors = models.map { InferenceFloors(of: $0, on: pool) }
    // The first round warms up.
    for round in 0...`repeat` {
      let order = round % 2 == 0 ? Array(runs.indices) : runs.indices.reversed()
      try InferenceMeasurement.measure(&runs, in: order, keeps: round > 0)
      if round > 0 { for index in floors.indices { floors[index].measure() } }
    }
    let rates = zip(runs, floors).map { InferenceRates($0, prompt: prompt, $1) }
    let stages = try runs.map { try $0.stages() }
    let costs = runs.count > 1 ? InferenceCosts(of: runs[1], over: runs[0]) : nil
    let stretches = runs[0].tokenSeconds.count
    report.print(
      json(base, models, rates, costs, floors, stages, stretches: stretches, threads: pool.count)
    ) {
      var table = Table([
        ("", .left), ("prefill t/s", .right), ("of floor", .right), ("decode t/s", .right),
        ("of floor", .right), ("weights", .right),
      ])
      for (name, rate) in zip(["base", "with experts"], rates) {
        table.add([
          name, formatted(rate.prefill, digits: 1), percent(rate.prefillShare),
          formatted(rate.decode, digits: 1), percent(rate.decodeShare),
          formatted(bytes: rate.weightBytes),
        ])
      }
      if let costs {
        table.add([
          "cost", "× " + formatted(costs.prefill, digits: 2), "",
          "× " + formatted(costs.decode, digits: 2), "", "× " + formatted(costs.weightBytes, digits: 2),
        ])
      }
      for line in table.lines { Terminal.print(line) }
      print(stages)
      Terminal.print(
        "prompt \(prompt), then \(tokens) tokens after \(depth); \(pool.count) threads, cache "
          + "\(cache.rawValue), weights \(models[0].weightType), \(base.isMapped ? "mapped" : "in memory")")
      Terminal.print(
        "floors: "
          + floors.map { formatted($0.bytes.median / 1e9, digits: 1) }.joined(separator: " and ")
          + " GB/s of memory, \(formatted(floors[0].multiplyAdds.median / 1e9, digits: 0)) GFLOP/s; large "
          + "products \(paces(floors[0])) GFLOP/s; kernels \(kernelVariant())")
    }
  }

  /// Of floats, and of integers where the weights are multiplied as such.
  private func paces(_ floors: InferenceFloors) -> String {
    let paces = floors.integers == floors.floats ? [floors.floats] : [floors.integers, floors.floats]
    return paces.map { formatted($0.median / 1e9, digits: 0) }.joined(separator: " (of floats ")
      + (paces.count > 1 ? ")" : "")
  }

  private func print(_ stages: [InferenceStages]) {
    var table = Table(
      [("a token, µs", .left), ("base", .right)] + (stages.count > 1 ? [("with experts", .right)] : []))
    func add(_ name: String, _ values: [Double], _ digits: Int) {
      if values.contains(where: { $0 > 0 }) {
        table.add([name] + values.map { formatted($0, digits: digits) })
      }
    }
    for stage in Model.DecodeStage.allCases {
      add(stage.rawValue, stages.map { 1e6 * ($0.token[stage] ?? 0) }, 0)
    }
    add("rest", stages.map { 1e6 * $0.tokenRest }, 0)
    table.add(["the prompt, ms", ""] + (stages.count > 1 ? [""] : []))
    for stage in StageTimer.Stage.inPrompts {
      add(stage.rawValue, stages.map { 1e3 * ($0.prompt[stage] ?? 0) }, 1)
    }
    for line in table.lines { Terminal.print(line) }
  }

  private func json(
    _ base: LoadedBase, _ models: [Model], _ rates: [InferenceRates], _ costs: InferenceCosts?,
    _ floors: [InferenceFloors], _ stages: [InferenceStages], stretches: Int, threads: Int
  ) -> JSON {
    var report = JSONObject()
    report["schema"] = 1
    report["threads"] = .integer(threads)
    report["cache"] = .string(cache.rawValue)
    report["mapped"] = .bool(base.isMapped)
    report["weight_type"] = .string(models[0].weightType)
    report["prompt"] = .integer(prompt)
    report["tokens"] = .integer(tokens)
    report["depth"] = .integer(depth)
    report["repeat"] = .integer(`repeat`)
    report["stretches"] = .integer(stretches)
    report["memory_gb_s"] = .double(floors[0].bytes.median / 1e9)
    report["fma_gflop_s"] = .double(floors[0].multiplyAdds.median / 1e9)
    report["matrix_gflop_s"] = .double(floors[0].integers.median / 1e9)
    report["matrix_float_gflop_s"] = .double(floors[0].floats.median / 1e9)
    report["kernels"] = .string(kernelVariant())
    report["base"] = rates[0].json
    report["base_seconds"] = stages[0].json
    if let costs {
      report["experts"] = .array(models[1].experts.map { .string($0) })
      report["mixture_memory_gb_s"] = .double(floors[1].bytes.median / 1e9)
      report["mixture"] = rates[1].json
      report["mixture_seconds"] = stages[1].json
      report["prefill_cost"] = .double(costs.prefill)
      report["decode_cost"] = .double(costs.decode)
    }
    return .object(report)
  }

  private func percent(_ share: Double) -> String { formatted(100 * share, digits: 0) + " %" }
}
