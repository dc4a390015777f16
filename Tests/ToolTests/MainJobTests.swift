import Foundation
import LMoECore
import LMoEFormat
import Testing

/// The tool's main job from one end to the other, and what `inspect --json` promises (spec/inspect.md).
@Suite(.timeLimit(.minutes(2))) struct MainJobTests {
  private let tool: Tool

  init() throws { tool = try Tool() }

  private func inspect(_ file: String = "tiny.lmoe", _ options: String...) throws -> JSON {
    try tool.run(["inspect", file, "--json"] + options).json()
  }

  private func experts(_ json: JSON) -> [String] {
    json["experts"]?.array?.compactMap { $0["name"]?.string } ?? []
  }

  private func expectExport(_ arguments: String..., equals source: String) throws {
    let target = "out-\(UUID())"
    let output = try tool.run(["export", "tiny.lmoe"] + arguments + ["-o", target])
    #expect(output.status == 0, "\(output.err)")
    let expected = try contents(ofDirectory: source)
    #expect(!expected.isEmpty)
    #expect(try contents(ofDirectory: tool.path(target)) == expected)
  }

  @Test func `import, add, remove, restore, export`() throws {
    try tool.makeBundle("tiny.lmoe")
    #expect(experts(try inspect()) == ["code", "math"])
    let fresh = try tool.contents("tiny.lmoe")

    let added = try tool.succeed("add", "tiny.lmoe", "verse=\(Tool.adapter("verse"))", "--json").out
    let report = try JSON(parsing: Array(added.utf8))
    #expect(report["schema"] == 1 && report["generation"] == 2 && report["path"] == "tiny.lmoe")
    let grown = try tool.contents("tiny.lmoe")
    #expect(report["written_bytes"]?.int == grown.count - fresh.count)
    // An append: nothing that was there has changed but a superblock's slot.
    #expect(
      grown[0x8000..<fresh.count].elementsEqual(fresh[0x8000...]) && grown[..<0x4000] == fresh[..<0x4000])
    #expect(experts(try inspect()) == ["code", "math", "verse"])

    #expect(try tool.succeed("verify", "tiny.lmoe").out.hasPrefix("tiny.lmoe: whole; 5 banks, 101 tensors, "))
    #expect(try tool.succeed("verify", "tiny.lmoe", "--full").out.hasSuffix(" checked and decoded\n"))
    #expect(try tool.succeed("remove", "tiny.lmoe", "code", "math").out.hasSuffix("generation 3\n"))
    #expect(experts(try inspect()) == ["verse"])
    let gone = try tool.run("export", "tiny.lmoe", "--to", "peft", "--expert", "code", "-o", "no")
    #expect(gone.status == 3 && gone.err == "Error: tiny.lmoe has no bank \"expert/code\"\n")

    let history = try tool.succeed("history", "tiny.lmoe", "--json").json()["generations"]?.array ?? []
    #expect(history.map { $0["generation"]?.int } == [3, 2, 1])
    #expect(
      history.map { $0["note"]?.string } == [
        "remove expert/code, expert/math", "add expert/verse", "import tiny-llama",
      ])
    #expect(history.map { $0["banks"]?.array?.count } == [3, 5, 4])
    #expect(
      try tool.succeed("restore", "tiny.lmoe", "--generation", "2").out
        == "tiny.lmoe: restored generation 2, now generation 4\n")
    #expect(experts(try inspect()) == ["code", "math", "verse"])
    try tool.succeed("verify", "tiny.lmoe", "--full")

    try expectExport("--to", "hf", equals: "\(Tool.fixtures)/tiny-llama")
    for name in ["code", "math", "verse"] {
      try expectExport("--to", "peft", "--expert", name, equals: Tool.adapter(name))
    }
  }

  @Test func `the documented keys`() throws {
    try tool.makeBundle("tiny.lmoe")
    let json = try inspect()
    let keys = { (json: JSON?) in json?.object?.members.map(\.key) ?? [] }
    let top = [
      "schema", "format", "generation", "file_bytes", "live_bytes", "runs_from_map", "base", "experts",
      "gates",
    ]
    #expect(keys(json) == top)
    #expect(json["schema"] == 1 && json["format"] == "lmoe" && json["generation"] == 1)
    #expect(json["file_bytes"]?.int == (try tool.contents("tiny.lmoe").count))
    #expect(try #require(json["live_bytes"]?.int) <= (try #require(json["file_bytes"]?.int)))
    #expect(json["runs_from_map"] == false)
    let base = json["base"]
    #expect(
      keys(base) == [
        "name", "architecture", "parameters", "model", "text", "content_id", "source_id", "dtypes",
        "stored_bytes", "raw_bytes", "external",
      ])
    #expect(base?["architecture"] == "LlamaForCausalLM" && base?["parameters"] == 149952)
    #expect(base?["dtypes"] == ["BF16": 149952] && base?["raw_bytes"] == 299904 && base?["external"] == false)
    #expect(base?["content_id"] == base?["source_id"])
    #expect(Bits128(hexadecimal: base?["content_id"]?.string ?? "") != nil)
    let math = try #require(json["experts"]?.array?.last)
    #expect(
      keys(math) == [
        "name", "id", "kind", "ranks", "alpha", "targets", "parameters", "stored_bytes", "raw_bytes",
        "content_id", "base", "norm", "share", "training",
      ])
    #expect(math["name"] == "math" && math["kind"] == "lora" && math["ranks"] == [8] && math["alpha"] == [16])
    #expect(
      math["targets"] == ["q_proj", "v_proj"] && math["parameters"] == 5376 && math["raw_bytes"] == 21504)
    #expect(
      math["base"] == ["name": "tiny-llama", "source_id": base?["source_id"] ?? nil, "match": "asserted"])
    let gate = try #require(json["gates"]?.array?.first)
    #expect(
      keys(gate) == ["name", "id", "card"] && gate["name"] == "uniform"
        && gate["card"]?["weights"] == "uniform")

    let full = try inspect("tiny.lmoe", "--tensors", "--history")
    #expect(keys(full) == top + ["tensors", "history"])
    let tensors = try #require(full["tensors"]?.array)
    #expect(tensors.count == 29 + 12 + 42)
    for tensor in tensors {
      #expect(keys(tensor) == ["bank", "name", "dtype", "shape", "raw_bytes", "stored_bytes", "codec"])
    }
    let embedding = tensors.first { $0["name"] == "model.embed_tokens.weight" }
    #expect(
      embedding?["bank"] == "base" && embedding?["dtype"] == "BF16" && embedding?["shape"] == [320, 64])
    #expect(embedding?["raw_bytes"] == 40960 && embedding?["codec"] == "planes")
    #expect(full["history"]?.array?.map { keys($0) } == [["generation", "commit_ns", "note", "banks"]])
  }

  @Test func `raw bundles run from the map and come back too`() throws {
    try tool.makeBundle("tiny.lmoe", "--codec", "raw", "--gate", "none")
    let json = try inspect("tiny.lmoe", "--tensors")
    #expect(json["runs_from_map"] == true && json["gates"] == [])
    #expect(
      json["tensors"]?.array?.allSatisfy { $0["codec"] == "raw" && $0["raw_bytes"] == $0["stored_bytes"] }
        == true)
    try expectExport("--to", "hf", equals: "\(Tool.fixtures)/tiny-llama")
    try expectExport("--to", "peft", "--expert", "math", equals: Tool.adapter("math"))
  }

  @Test func `a base that is not embedded`() throws {
    try tool.makeBundle("tiny.lmoe", "--no-embed-base")
    #expect(try inspect()["base"]?["external"] == true)
    #expect(try inspect("tiny.lmoe", "--tensors")["tensors"]?.array?.first?["codec"] == "external")
    try tool.succeed("verify", "tiny.lmoe", "--full")
    try tool.succeed("add", "tiny.lmoe", "verse=\(Tool.adapter("verse"))")
    let output = try tool.run("export", "tiny.lmoe", "--to", "hf", "-o", "out")
    #expect(output.status == 3 && output.err.hasSuffix("that has them with --base\n"))
    #expect(try tool.names() == ["tiny.lmoe"])
  }

  @Test func `inspect of everything else`() throws {
    let names = ["schema", "format", "path"]
    for (path, format) in [
      ("tiny-llama", "hf"), ("tiny-llama-sharded", "hf"), ("adapters/math", "peft"),
      ("tiny-llama/model.safetensors", "safetensors"),
    ] {
      let json = try inspect("\(Tool.fixtures)/\(path)")
      #expect(json["schema"] == 1 && json["format"]?.string == format)
      #expect(names.allSatisfy { json[$0] != nil } && json["tensors"] == nil)
      #expect(try inspect("\(Tool.fixtures)/\(path)", "--tensors")["tensors"]?.array?.isEmpty == false)
      #expect(try !tool.succeed("inspect", "\(Tool.fixtures)/\(path)", "--tensors").out.isEmpty)
    }
  }
}
