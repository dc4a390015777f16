import LMoECore
import Testing

/// `bench run`: that it runs and reports; how fast is for people to judge.
@Suite(.timeLimit(.minutes(1))) struct BenchRunTests {
  private let tool: Tool

  init() throws {
    tool = try Tool()
    try tool.makeBundle("a.lmoe")
  }

  private func report(_ options: String...) throws -> JSON {
    let output = try tool.run(
      ["bench", "run", "a.lmoe", "--prompt", "8", "--tokens", "2", "--depth", "2", "--repeat", "1", "--json"]
        + options)
    try #require(output.status == 0, "\(output.err)")
    return try output.json()
  }

  @Test func `the mixture and the base, each beside its floor`() throws {
    let report = try report("--threads", "1", "--cache", "f16")
    #expect(report["schema"]?.int == 1)
    #expect(report["threads"]?.int == 1 && report["cache"]?.string == "f16")
    #expect(report["experts"]?.array?.compactMap(\.string) == ["code", "math"])
    for side in ["base", "mixture"] {
      for key in [
        "prefill_tokens_s", "prefill_floor_share", "prefill_products_share", "decode_tokens_s",
        "decode_share",
      ] {
        #expect((report[side]?[key]?.double ?? 0) > 0, "\(side) \(key)")
      }
    }
    for key in ["prefill_cost", "decode_cost", "memory_gb_s", "fma_gflop_s", "matrix_gflop_s"] {
      #expect((report[key]?.double ?? 0) > 0, "\(key)")
    }
  }

  @Test(arguments: [2, 15, 16, 17, 40]) func `stretches of tokens, whole or not`(tokens: Int) throws {
    let report = try report("--tokens", "\(tokens)", "--repeat", "2", "--threads", "1")
    #expect(report["tokens"]?.int == tokens)
    #expect(report["stretches"]?.int == 2 * ((tokens + 15) / 16))
    for rate in [
      report["decode_cost"], report["base"]?["decode_share"], report["mixture"]?["decode_tokens_s"],
    ] {
      #expect(rate?.double.map { $0 > 0 && $0.isFinite } == true)
    }
  }

  @Test func `without experts there is nothing to compare`() throws {
    let report = try report("--base")
    #expect(report["base"] != nil && report["mixture"] == nil && report["decode_cost"] == nil)
  }

  @Test func `the weights that a token reads are those of the model`() throws {
    let base = try tool.succeed("inspect", "a.lmoe", "--tensors", "--json").json()
    let banks = Dictionary(grouping: base["tensors"]?.array ?? []) { $0["bank"]?.string ?? "" }
    func bytes(_ bank: String) -> Int { (banks[bank] ?? []).reduce(0) { $0 + ($1["raw_bytes"]?.int ?? 0) } }
    let report = try report("--weights", "math=1")
    let read = try #require(report["base"]?["weight_bytes"]?.int)
    let mixed = try #require(report["mixture"]?["weight_bytes"]?.int)
    #expect(read == bytes("base"))
    #expect(mixed - read == bytes("expert/math"))
  }
}
