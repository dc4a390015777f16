import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// The commands `prune` and `fit` from outside.
@Suite struct PruneTests {
  private static let embedded = Tool.fixtures + "/embedded"

  private func fixture() throws -> Tool {
    let tool = try Tool()
    let experts = ["json", "sql", "verse"].flatMap { ["--expert", "\($0)=\(Self.embedded)/\($0)"] }
    try #require(
      tool.run(["import", "--base", Self.embedded + "/base", "-o", "b.lmoe"] + experts).status == 0)
    return tool
  }

  private static let sql = [
    "--calibrate", "\(embedded)/text/sql.test.jsonl", "--limit", "3", "--context", "128",
  ]

  private func experts(_ tool: Tool, _ file: String) throws -> [String] {
    try Bundle(path: tool.path(file)).banks(ofKind: "expert").map(\.shortName)
  }

  @Test func `a table to decide by, and the decision`() throws {
    let tool = try fixture()
    let before = try tool.contents("b.lmoe")
    let dry = try tool.run(
      ["prune", "b.lmoe", "--experts", "1", "--by", "loss", "--dry-run", "--json"] + Self.sql)
    #expect(dry.status == 0)
    #expect(try tool.contents("b.lmoe") == before)
    let table = try dry.json()
    let rows = try #require(table["experts"]?.array)
    #expect(rows.map { $0["name"]?.string } == ["json", "sql", "verse"])
    #expect(rows.compactMap { $0["use"]?.double }.allSatisfy { abs($0 - 1.0 / 3) < 1e-6 })
    #expect(rows.allSatisfy { ($0["saliency"]?.double ?? 0) > 0 && $0["nearest"]?.string != nil })
    // Without the expert of these texts they cost more, without the others less.
    let changes = rows.compactMap { $0["nats_if_dropped"]?.double }
    #expect(changes.count == 3 && changes[1] > 0 && changes[0] < changes[1] && changes[2] < changes[1])
    #expect(rows.map { $0["leaves"]?.bool } == [true, false, true])
    let text = try tool.run(["prune", "b.lmoe", "--experts", "1", "--by", "loss", "--dry-run"] + Self.sql)
    #expect(text.out.contains("nats if dropped") && text.out.contains("It would have removed"))
    let done = try tool.run(["prune", "b.lmoe", "--experts", "1", "--by", "loss", "-o", "c.lmoe"] + Self.sql)
    #expect(done.status == 0, "\(done)")
    #expect(try experts(tool, "c.lmoe") == ["sql"] && experts(tool, "b.lmoe") == ["json", "sql", "verse"])
    try tool.succeed("verify", "c.lmoe")
    try tool.succeed("prune", "b.lmoe", "--experts", "2", "--merge-similar", "--energy", "0.9")
    #expect(try experts(tool, "b.lmoe").count == 2)
    try tool.succeed("verify", "b.lmoe")
  }

  @Test func `smaller ranks, and zeros`() throws {
    let tool = try fixture()
    try tool.succeed("prune", "b.lmoe", "--ranks", "--rank", "2", "--expert", "sql")
    try tool.succeed("inspect", "b.lmoe")
    let writer = try Bundle(path: tool.path("b.lmoe"))
    let ranks = try ["json", "sql"].map { name in
      try writer.card(of: writer.bank("expert/" + name))?["modules"]?.array?.compactMap { $0["rank"]?.int }
    }
    #expect(ranks == [[8], [2]])
    let again = try tool.succeed("prune", "b.lmoe", "--ranks", "--rank", "2", "--expert", "sql")
    #expect(again.out.contains("Nothing was to be pruned"))
    let zeros = try tool.run(["prune", "b.lmoe", "--entries", "--density", "0.25", "-o", "z.lmoe"])
    #expect(zeros.status == 0 && zeros.err.contains("zeros take little room"))
    // Smaller than with all entries.
    let sizes = try ["b.lmoe", "z.lmoe"].map { name in
      try Bundle(path: tool.path(name)).banks(ofKind: "expert").reduce(0) { $0 + $1.storedBytes }
    }
    #expect(sizes[1] < sizes[0] * 3 / 4)
    try tool.succeed("prune", Self.embedded + "/sql", "--ranks", "--energy", "0.5", "-o", "sql")
    try tool.succeed("inspect", "sql")
    #expect(try tool.run("add", "z.lmoe", "small=sql").status == 0)
  }

  @Test func `quantized factors become floats`() throws {
    let tool = try fixture()
    #expect(try tool.run("quantize", "b.lmoe", "--experts", "q8_0").status == 0)
    let pruned = try tool.run(["prune", "b.lmoe", "--ranks", "--rank", "2", "--expert", "sql"])
    #expect(pruned.status == 0 && pruned.err.contains("F32"))
    let bundle = try Bundle(path: tool.path("b.lmoe"))
    func names(_ expert: String) throws -> [String] {
      try bundle.manifest(of: bundle.bank("expert/" + expert)).tensors.map(\.name)
    }
    #expect(try names("sql").allSatisfy { !$0.hasSuffix("lora_B.transposed") })
    #expect(try names("json").contains { $0.hasSuffix("lora_B.transposed") })
    try tool.succeed("verify", "b.lmoe")
    let alike = try tool.run(
      ["prune", "b.lmoe", "--experts", "2", "--by", "usage", "-o", "u.lmoe"] + Self.sql)
    #expect(alike.status == 0 && alike.err.contains("usage says nothing"))
  }

  @Test func `weights from a few texts`() throws {
    let tool = try fixture()
    let data = ["--data", "\(Self.embedded)/text/sql.train.jsonl", "--limit", "3", "--context", "128"]
    let found = try tool.run(
      ["fit", "b.lmoe", "--gate", "sql", "--as", "sum", "--steps", "12", "--rate", "0.1", "--json"] + data)
    #expect(found.status == 0, "\(found)")
    let json = try found.json()
    let weights = try #require(json["experts"]?.array).compactMap { $0["weight"]?.double }
    #expect(weights.count == 3 && weights[1] > 0.7 && weights[0] < 0.3 && weights[2] < 0.3)
    #expect((json["nats_after"]?.double ?? 9) < (json["nats_before"]?.double ?? 0) - 0.5)
    try tool.succeed("gate", "show", "b.lmoe", "sql")
    let eval = try tool.run(
      ["eval", "b.lmoe", "--compare", "gate:sql,sum,base", "--json", "--limit", "5", "--data"]
        + ["\(Self.embedded)/text/sql.test.jsonl"])
    let results = try #require(try eval.json()["results"]?.array).compactMap {
      $0["all"]?["nats_per_token"]?.double
    }
    #expect(results.count == 3 && abs(results[0] - results[1]) < 1e-4 && results[0] < results[2] - 0.5)
    let taken = try tool.run(["fit", "b.lmoe", "--gate", "sql", "--steps", "1"] + data)
    #expect(taken.status == 3 && taken.err.contains("already has a gate"))
  }

  @Test(arguments: [
    (["--ranks"], "--rank or --energy"), (["--ranks", "--rank", "2", "--energy", "1"], "--rank or --energy"),
    (["--entries"], "--density"), (["--experts", "1"], "--by"), ([], "what is pruned"),
    (["--experts", "1", "--by", "usage"], "--calibrate"), (["--ranks", "--experts", "1"], "what is pruned"),
    (["--experts", "1", "--by", "similarity", "--rank", "2"], "--merge-similar"),
    (["--ranks", "--rank", "2", "--by", "usage"], "--experts"),
  ])
  func `options that do not go together`(arguments: [String], word: String) throws {
    let output = try Tool().run(["prune", "b.lmoe"] + arguments)
    #expect(output.status == 64 && output.err.contains(word), "\(output)")
  }

  @Test func `what cannot be done`() throws {
    let tool = try fixture()
    func refusal(_ arguments: String...) throws -> String {
      let output = try tool.run(["prune", "b.lmoe"] + arguments)
      #expect(output.status == 3, "\(output)")
      return output.err
    }
    #expect(try refusal("--experts", "3", "--by", "similarity").contains("3 are to be left"))
    #expect(try refusal("--experts", "0", "--by", "similarity").contains("at least one"))
    #expect(try refusal("--ranks", "--rank", "0").contains("65,536"))
    #expect(try refusal("--ranks", "--rank", "1", "--expert", "sq").contains("sql"))
  }
}
