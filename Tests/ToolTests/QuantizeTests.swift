import Foundation
import LMoECore
import LMoEFormat
import Testing

/// quantize from outside, on the model that was really trained.
@Suite(.timeLimit(.minutes(2))) struct QuantizeTests {
  private let tool: Tool
  private static let embedded = Tool.fixtures + "/embedded"
  private static let texts = ["general", "arithmetic", "verse"].flatMap {
    ["--eval", "\($0)=\(embedded)/text/\($0).test.jsonl"]
  }

  init() throws {
    tool = try Tool()
    let experts = ["arithmetic", "verse"].flatMap { ["--expert", "\($0)=\(Self.embedded)/\($0)"] }
    let output = try tool.run(["import", "--base", Self.embedded + "/base", "-o", "b.lmoe"] + experts)
    try #require(output.status == 0, "\(output.err)")
  }

  private func quantize(_ arguments: String...) throws -> JSON {
    let output = try tool.run(["quantize", "b.lmoe", "--json"] + arguments)
    try #require(output.status == 0, "\(output.err)")
    return try output.json()
  }

  private func change(_ json: JSON) throws -> Double {
    let text = try #require(json["texts"]?.array?.last)
    return try #require(text["perplexity"]?.double) / #require(text["perplexity_before"]?.double) - 1
  }

  @Test func `perplexity hardly changes in eight bits, and a little in four`() throws {
    let limits: [(type: String, limit: Double)] = [
      ("q8_0", 0.003), ("i8", 0.003), ("q4_0", 0.08), ("nf4", 0.06), ("i4-32", 0.06),
    ]
    for (type, limit) in limits {
      let json = try quantize(
        ["--base", type, "--experts", type, "-o", "\(type).lmoe"] + Self.texts)
      let change = try change(json)
      #expect(abs(change) < limit, "\(type) \(change)")
      #expect(json["selection"] == "gate:uniform" && json["texts"]?.array?.count == 4)
      #expect(try tool.run("verify", "\(type).lmoe").status == 0)
      // What eval says of the new bundle is what was said of it.
      guard type == "q4_0" else { continue }
      let data = ["general", "arithmetic", "verse"].flatMap {
        ["--data", "\($0)=\(Self.embedded)/text/\($0).test.jsonl"]
      }
      let report = try tool.run(["eval", "q4_0.lmoe", "--json"] + data).json()
      let own = report["results"]?.array?.first?["all"]?["perplexity"]?.double
      #expect(own == json["texts"]?.array?.last?["perplexity"]?.double, "\(report)")
    }
  }

  private func quantize(_ arguments: [String]) throws -> JSON {
    let output = try tool.run(["quantize", "b.lmoe", "--json"] + arguments)
    try #require(output.status == 0, "\(output.err)")
    return try output.json()
  }

  @Test func `the base alone`() throws {
    _ = try tool.succeed("import", "--base", Self.embedded + "/base", "-o", "base.lmoe")
    let texts = ["--eval", "\(Self.embedded)/text/general.test.jsonl"]
    func changed(_ arguments: String...) throws -> Double {
      let output = try tool.run(
        ["quantize", "base.lmoe", "-o", "\(UUID()).lmoe", "--json", "--base"] + arguments + texts)
      try #require(output.status == 0, "\(output.err)")
      return try change(output.json())
    }
    #expect(try abs(changed("q8_0")) < 0.001)
    // Errors that matter count more.
    let plain = try changed("i4-128")
    let weighed = try changed("i4-128", "--calibrate", "\(Self.embedded)/text/general.train.jsonl")
    #expect(weighed < plain && plain < 0.01, "\(weighed) \(plain)")
  }

  @Test func `in place with a table`() throws {
    let output = try tool.succeed(
      "quantize", "b.lmoe", "--base", "q8_0", "--keep", "embed", "--experts", "q4_0")
    #expect(output.out.hasPrefix("b.lmoe: base, expert/arithmetic, expert/verse: "))
    #expect(output.out.contains("generation 2, the file "))
    let lines = output.out.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    let attention = try #require(lines.first { $0.first == "attention" })
    #expect(
      attention.contains("kB") && attention.contains("Q8_0") && attention.contains("8.50"), "\(output.out)")
    #expect(lines.first { $0.first == "embedding" }?.contains("BF16") == true)
    #expect(try tool.succeed("history", "b.lmoe").out.contains("quantize base to Q8_0"))
    // It runs, and what it was can be had again.
    _ = try tool.succeed(
      "generate", "b.lmoe", "--bos", "-p", "23 + 45 =", "-n", "4", "--expert", "arithmetic")
    _ = try tool.succeed("restore", "b.lmoe", "--generation", "1")
    _ = try tool.succeed("export", "b.lmoe", "--to", "hf", "-o", "base")
    #expect(
      try Data(contentsOf: URL(filePath: tool.path("base/model.safetensors")))
        == Data(contentsOf: URL(filePath: Self.embedded + "/base/model.safetensors")))
  }

  @Test func `out only as what it is`() throws {
    _ = try tool.succeed("quantize", "b.lmoe", "--base", "q8_0", "--experts", "q8_0")
    for target in [["hf"], ["peft", "--expert", "verse"]] {
      let refused = try tool.run(["export", "b.lmoe", "-o", "out", "--to"] + target)
      #expect(
        refused.status == 3 && refused.err.contains("add --dequantize bf16, f16 or f32"), "\(refused.err)")
      #expect(!FileManager.default.fileExists(atPath: tool.path("out")))
    }
    _ = try tool.succeed("export", "b.lmoe", "--to", "hf", "--dequantize", "f32", "-o", "out")
    _ = try tool.succeed("import", "--base", "out", "-o", "again.lmoe")
    let texts = ["--data", "\(Self.embedded)/text/general.test.jsonl", "--json"]
    let (first, second) = (
      try tool.run(["eval", "b.lmoe", "--base"] + texts).json(),
      try tool.run(["eval", "again.lmoe", "--base"] + texts).json()
    )
    // Products with blocks round what they are multiplied with, products with floats do not.
    let costs = try [first, second].map {
      try #require($0["results"]?.array?.first?["all"]?["nats_per_token"]?.double)
    }
    #expect(abs(costs[0] - costs[1]) < 0.002 * costs[1], "\(costs)")
    let usage = try tool.run("export", "b.lmoe", "--to", "lmoe", "--dequantize", "f32", "-o", "x.lmoe")
    #expect(usage.status == 64)
  }

  @Test(arguments: [
    ["quantize", "b.lmoe"], ["quantize", "b.lmoe", "--base", "q5"],
    ["quantize", "b.lmoe", "--expert", "verse", "--base", "q8_0"],
    ["quantize", "b.lmoe", "--base", "q8_0", "--keep", "everything"],
    ["quantize", "b.lmoe", "--base", "q8_0", "--calibrate", "x.txt"],
    ["quantize", "b.lmoe", "--experts", "q8_0", "--keep", "head"],
  ]) func `usage`(arguments: [String]) throws {
    let output = try tool.run(arguments)
    #expect(output.status == 64 && output.out == "", "\(output)")
  }

  @Test func `nothing is half written`() throws {
    let before = try Data(contentsOf: URL(filePath: tool.path("b.lmoe")))
    let refused = try tool.run("quantize", "b.lmoe", "--base", "q4_k")
    #expect(refused.status == 3 && refused.err.contains("not whole blocks of Q4_K"), "\(refused.err)")
    let missing = try tool.run("quantize", "b.lmoe", "--base", "q8_0", "--eval", "none.txt", "-o", "x.lmoe")
    #expect(missing.status == 74)
    // The disk is full before it is done.
    let full = try tool.run(["quantize", "b.lmoe", "--base", "q8_0", "-o", "x.lmoe"], limit: "-f 512")
    #expect(full.status != 0)
    #expect(!FileManager.default.fileExists(atPath: tool.path("x.lmoe")))
    #expect(try FileManager.default.contentsOfDirectory(atPath: tool.directory) == ["b.lmoe"])
    #expect(try Data(contentsOf: URL(filePath: tool.path("b.lmoe"))) == before)
  }
}
