import LMoECore
import Testing

/// `bench train`: that it trains, counts and times; how fast is for people to judge.
@Suite(.timeLimit(.minutes(1))) struct BenchTrainTests {
  private func report(_ options: String...) throws -> JSON { try report(options) }

  private func report(_ options: [String]) throws -> JSON {
    try Tool().succeed(
      command: ["bench", "train", "--shape", "s15m", "--documents", "1", "--length", "32", "--json"] + options
    ).json()
  }

  @Test func `a step is timed as a whole and by stage`() throws {
    let report = try report("--steps", "3", "--threads", "1")
    #expect(report["schema"]?.int == 1 && report["shape"]?.string == "s15m")
    #expect(report["threads"]?.int == 1 && report["weights"]?.string == "f32")
    // Four experts: Ā and B̄ of rank 16 for the inputs and outputs of seven linears, and a gate for each layer.
    #expect(report["trained_parameters"]?.int == 6 * (64 * 5472 + 4 * 289))
    let rate = try #require(report["tokens_s"]?.double)
    let best = try #require(report["best_tokens_s"]?.double)
    #expect(rate > 0 && best >= rate)
    let share = try #require(report["share"]?.double)
    #expect(share > 0.01 && share < 1.5)
    let stages = try #require(report["stages"]?.object)
    let seconds = stages.members.map { $0.value["seconds"]?.double ?? 0 }
    #expect(stages.members.count == 6 && seconds.allSatisfy { $0 > 0 })
    // Medians of the stages, so that they need not add up to that of the whole.
    let step = 32 / rate
    #expect(seconds.reduce(0, +) > 0.5 * step && seconds.reduce(0, +) < 1.5 * step)
    // The weights, mapped, and more.
    #expect((report["peak_memory_bytes"]?.int ?? 0) > 60_000_000)
  }

  @Test func `the experts learn the texts by heart`() throws {
    let losses = try #require(try report("--steps", "3", "--weights", "bf16")["losses"]?.array)
      .compactMap(\.double)
    #expect(losses.count == 3 && losses.allSatisfy { $0 > 5 && $0 < 15 })
    #expect(losses[2] < losses[1] && losses[1] < losses[0])
  }

  @Test func `so they do where each token has some of them`() throws {
    let report = try report("--steps", "3", "--experts", "9", "--top", "2")
    #expect(report["experts"]?.int == 9 && report["top"]?.int == 2)
    let losses = (report["losses"]?.array ?? []).compactMap(\.double)
    #expect(losses.count == 3 && losses[2] < losses[1] && losses[1] < losses[0])
  }

  /// All of four experts of rank 16, and two of eight.
  @Test(arguments: [(4, []), (8, ["--top", "2"])])
  func `the floor counts what the formulas of the mixture ask for`(experts: Int, top: [String]) throws {
    let report = try report(["--steps", "1", "--experts", "\(experts)"] + top)
    let (layers, tokens, hidden, inner, vocabulary) = (6, 32, 288, 768, 32_000)
    let ranks = top.isEmpty ? 64 : 32
    let weights = 4 * hidden * hidden + 3 * hidden * inner
    let ends = 4 * 2 * hidden + 3 * (hidden + inner)
    // W₀ forward and backward; Ā and B̄ forward, for their inputs and for themselves. Nothing goes back through the
    // first layer's queries, keys and values.
    let products =
      layers * tokens * (2 * weights + 3 * ranks * ends) - tokens * 3 * hidden * (hidden + ranks)
    let expected = [
      "products": products,
      "attention": layers * tokens * (tokens + 1) / 2 * hidden * 6,
      "head": 2 * (tokens - 1) * vocabulary * hidden,
      "gates": (3 * layers - 1) * tokens * experts * hidden,
      "optimizer": 0, "passes": 0,
    ]
    var sum = 0.0
    for (stage, multiplications) in expected {
      let work = 2e-9 * Double(multiplications)
      #expect(abs((report["stages"]?[stage]?["gflop"]?.double ?? -1) - work) < 1e-9, "\(stage)")
      sum += work
    }
    #expect(abs((report["gflop"]?.double ?? 0) - sum) < 1e-9)
    // At the pace of registers, not at that of products.
    let pace = try #require(report["fma_gflop_s"]?.double)
    let floor = try #require(report["floor_tokens_s"]?.double)
    #expect(abs(floor / (Double(tokens) * pace / sum) - 1) < 1e-9)
  }

  @Test func `what cannot be trained is refused`() throws {
    for options in [
      ["--experts", "0"], ["--length", "1"], ["--steps", "0"], ["--threads", "0"],
      ["--top", "0"], ["--top", "5"],
    ] {
      #expect(try Tool().run(["bench", "train", "--shape", "s15m"] + options).status == 64, "\(options)")
    }
  }
}
