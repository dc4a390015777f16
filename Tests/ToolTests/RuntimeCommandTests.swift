import Foundation
import LMoECore
import LMoEFormat
import Testing

/// generate, logits and eval on the trained model, from outside.
@Suite(.timeLimit(.minutes(2))) struct RuntimeCommandTests {
  private let tool: Tool
  private static let embedded = Tool.fixtures + "/embedded"

  init() throws {
    tool = try Tool()
    let experts = ["arithmetic", "sql", "json", "verse"].flatMap {
      ["--expert", "\($0)=\(Self.embedded)/\($0)"]
    }
    let output = try tool.run(["import", "--base", Self.embedded + "/base", "-o", "b.lmoe"] + experts)
    try #require(output.status == 0, "\(output.err)")
  }

  /// The sentence without "Error: b.lmoe: ".
  private func refusal(_ arguments: String..., status: Int32 = 3) throws -> String {
    let output = try tool.run(arguments)
    #expect(output.status == status && output.out == "", "\(output)")
    return output.err.replacing("Error: ", with: "").replacing("b.lmoe: ", with: "")
      .trimmingCharacters(in: .newlines)
  }

  @Test func `each expert writes in its own way`() throws {
    let table =
      "CREATE TABLE songs (title TEXT, year INTEGER, plays INTEGER);\n"
      + "-- List the title of the songs whose plays is more than 300.\n"
    let sql = try tool.succeed(
      "generate", "b.lmoe", "--bos", "-p", table, "-n", "20", "--expert", "sql", "--stop", "\n"
    ).out
    #expect(sql == "SELECT title FROM songs WHERE plays > 300;\n")
    let base = try tool.succeed(
      "generate", "b.lmoe", "--bos", "-p", table, "-n", "20", "--base", "--stop", "\n"
    ).out
    #expect(base != sql)
    let sum = try tool.succeed(
      "generate", "b.lmoe", "--bos", "-p", "23 + 45 =", "-n", "4", "--expert", "arithmetic"
    ).out
    #expect(sum.hasPrefix(" 6"))
    // A value may begin with a hyphen, as comments of SQL do.
    let dashes = try tool.succeed("generate", "b.lmoe", "-p", "-- List", "--echo", "-n", "3").out
    #expect(dashes.hasPrefix("-- List"))
  }

  @Test func `a message in the form of the chat template`() throws {
    let written =
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n-- Hi<|im_end|>\n<|im_start|>assistant\n"
    let own = try tool.succeed(
      "generate", "b.lmoe", "--chat", "--system", "Be brief.", "-p", "-- Hi", "-n", "8", "--ignore-end",
      "--json"
    ).json()
    let plain = try tool.succeed(
      "generate", "b.lmoe", "-p", written, "-n", "8", "--ignore-end", "--json"
    ).json()
    let (first, second) = (own["texts"]?.array?.first, plain["texts"]?.array?.first)
    #expect(first?["tokens"] == second?["tokens"] && first?["prompt_tokens"] == second?["prompt_tokens"])
    #expect(first?["tokens"]?.array?.count == 8)
    #expect(try refusal("generate", "b.lmoe", "-p", "x", "--system", "y", status: 64).contains("--chat"))
    #expect(try refusal("generate", "b.lmoe", "-p", "x", "--chat", "--template", "t").contains("t"))
  }

  @Test func `the same seed, the same text; several texts are what each is alone`() throws {
    func run(_ arguments: [String]) throws -> JSON {
      let output = try tool.run(["generate", "b.lmoe", "--json", "-n", "12"] + arguments)
      #expect(output.status == 0, "\(output.err)")
      return try output.json()
    }
    let random = ["-p", "The old", "--temperature", "1.5", "--ignore-end", "--uniform"]
    let first = try run(random + ["--seed", "7"])
    #expect(first["texts"] == (try run(random + ["--seed", "7"]))["texts"])
    #expect(first["texts"] != (try run(random + ["--seed", "8"]))["texts"])
    #expect(first["schema"] == 1 && first["path"] == "b.lmoe")
    let text = try #require(first["texts"]?.array?.first)
    #expect(text["prompt"] == "The old" && text["tokens"]?.array?.count == 12 && text["end"] == "length")
    let prompts = ["The old wind", "Anna has 12 apples and gives away", "A"]
    let together = try run(["--gate", "uniform", "--ignore-end"] + prompts.flatMap { ["-p", $0] })
    for (index, prompt) in prompts.enumerated() {
      let alone = try run(["--gate", "uniform", "--ignore-end", "-p", prompt])
      #expect(together["texts"]?.array?[index]["tokens"] == alone["texts"]?.array?.first?["tokens"])
    }
    let half = try run(["-p", "The old wind", "--ignore-end", "--gate", "uniform", "--cache", "f16"])
    #expect(half["texts"]?.array?.first?["text"] == together["texts"]?.array?.first?["text"])
  }

  @Test func `weights on the command line`() throws {
    func logits(_ arguments: String...) throws -> [UInt8] {
      let output = try tool.run(
        ["logits", "b.lmoe", "--ids", "5,6,7,300", "-o", "o.safetensors"] + arguments)
      #expect(output.status == 0 && output.err == "", "\(output.err)")
      return try tool.contents("o.safetensors")
    }
    let file = try logits("--weights", "sql=.5,json=-.25")
    #expect(file != (try logits("--weights", "sql=.5,json=.25")))
    // The output names its columns in the order of the experts that take part; the logits are the same.
    func tensor(_ bytes: [UInt8]) throws -> [UInt8] {
      try Data(bytes).write(to: URL(filePath: tool.path("t.safetensors")))
      let file = try SafetensorsFile(path: tool.path("t.safetensors"))
      #expect(file.tensors.map(\.name) == ["logits"] && file.tensors[0].type.shape == [4, 2048])
      return Array(bytes.suffix(file.tensors[0].type.rawBytes))
    }
    #expect(try tensor(logits("--weights", "sql=0")) == tensor(logits("--base")))
    #expect(try tensor(logits("--uniform")) == tensor(logits("--gate", "uniform")))
    #expect(try tensor(logits()) == tensor(logits("--gate", "uniform")))
    let all = try logits("--gate", "uniform", "--hidden", "--gate-weights")
    try Data(all).write(to: URL(filePath: tool.path("t.safetensors")))
    let names = try SafetensorsFile(path: tool.path("t.safetensors")).tensors.map {
      "\($0.name) \($0.type.shape)"
    }
    #expect(Set(names) == ["logits [4, 2048]", "hidden [4, 128]", "gate/global [4, 4]"])
  }

  @Test func `logits of a text are those of its tokens`() throws {
    let ids = try tool.succeed("tokenize", "b.lmoe", "Anna has 12 apples.", "--ids").out
      .trimmingCharacters(in: .whitespacesAndNewlines).replacing(" ", with: ",")
    try tool.succeed("logits", "b.lmoe", "Anna has 12 apples.", "-o", "text.safetensors", "--base")
    try tool.succeed("logits", "b.lmoe", "--ids", ids, "-o", "ids.safetensors", "--base")
    #expect(try tool.contents("text.safetensors") == tool.contents("ids.safetensors"))
  }

  @Test func `eval compares in one table`() throws {
    let data = ["sql", "verse"].flatMap { ["--data", "\(Self.embedded)/text/\($0).test.jsonl"] }
    let arguments = ["eval", "b.lmoe", "--limit", "6", "--compare", "base,each,uniform,gate"] + data
    let output = try tool.run(arguments)
    #expect(output.status == 0 && output.err == "")
    let lines = output.out.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    #expect(lines.first == ["nats/token", "sql", "verse", "all"])
    #expect(
      lines.dropFirst().map(\.first) == [
        "base", "arithmetic", "json", "sql", "verse", "uniform", "gate:uniform",
      ])
    // The best of each column has a star: each expert on its own texts.
    #expect(lines[4][1].hasSuffix("*") && lines[5][2].hasSuffix("*"))
    #expect(lines[6].dropFirst() == lines[7].dropFirst())
    let json = try tool.run(arguments + ["--json"]).json()
    let results = try #require(json["results"]?.array)
    #expect(results.count == 7 && results[3]["experts"] == "sql")
    let own = try #require(results[3]["domains"]?["sql"])
    let nats = try #require(own["nats_per_token"]?.double)
    #expect(abs(nats - (try #require(own["nats"]?.double)) / Double(own["tokens"]?.int ?? 0)) < 1e-9)
    #expect(abs(exp(nats) - (try #require(own["perplexity"]?.double))) < 1e-9)
  }

  @Test func `the routing is shown`() throws {
    try tool.succeed("gate", "init", "b.lmoe", "--kind", "random", "--null", "--force")
    let output = try tool.succeed(
      "generate", "b.lmoe", "-p", "Anna has", "-n", "5", "--ignore-end", "--gate", "default",
      "--show-routing",
      "--routing-html", "r.html"
    ).out
    let lines = output.split(separator: "\n")
    #expect(lines.count == 1 + 4 + 5 + 5, "\(output)")
    let names: [Substring] = ["arithmetic", "json", "sql", "verse", "base"]
    #expect(lines.suffix(5).map { $0.split(separator: " ")[0] } == names)
    let page = String(decoding: try tool.contents("r.html"), as: UTF8.self)
    #expect(page.hasPrefix("<!DOCTYPE html>") && page.contains("model.layers.5") && page.contains("verse"))
    #expect(!page.contains("http://") && !page.contains("https://"))
  }

  @Test func `what cannot be done is one sentence`() throws {
    #expect(
      try refusal("generate", "b.lmoe", "-p", "x", "--expert", "sqk")
        == "there is no expert sqk; did you mean sql? (there is arithmetic, json, sql, verse)")
    #expect(
      try refusal("generate", "b.lmoe", "-p", "x", "--gate", "g") == "there is no gate g (there is uniform)")
    #expect(
      try refusal("logits", "b.lmoe", "--ids", "2048", "-o", "o")
        == "there is no token 2048; the model has 0 to 2047")
    #expect(
      try refusal("generate", "b.lmoe", "-p", "one two three", "--context", "2")
        .hasSuffix("shorten it, or give --context"))
    #expect(
      try refusal("generate", "b.lmoe", "-p", "x", "--base", "--expert", "sql", status: 64).contains(
        "Give one of"))
    #expect(
      try refusal("generate", "b.lmoe", "-p", "x", "--weights", "sql", status: 64).contains("--weights"))
    #expect(try refusal("generate", "b.lmoe", status: 64).contains("Say which text"))
    #expect(try refusal("eval", "b.lmoe", "--data", "no.txt", status: 74).contains("no.txt"))
    #expect(try !FileManager.default.contentsOfDirectory(atPath: tool.directory).contains("o"))
    // An empty prompt begins with the token that texts begin with.
    #expect(try tool.run("generate", "b.lmoe", "-p", "", "-n", "1", "--base").status == 0)
  }

  @Test func `experts that a gate knows nothing of`() throws {
    try tool.succeed("remove", "b.lmoe", "json")
    #expect(try tool.run("gate", "init", "b.lmoe", "--kind", "random", "--name", "g").status == 0)
    let before = try tool.succeed("generate", "b.lmoe", "-p", "Anna has", "-n", "6", "--gate", "g").out
    let added = try tool.run("add", "b.lmoe", "json=\(Self.embedded)/json")
    #expect(added.status == 0)
    let output = try tool.run("generate", "b.lmoe", "-p", "Anna has", "-n", "6", "--gate", "g")
    #expect(output.status == 0 && output.out == before)
    #expect(
      output.err == "Note: b.lmoe: gate/g is unaware of json, which has weight 0; "
        + "make it anew with \"lmoe-tool gate init\"\n")
  }

  @Test func `a base elsewhere`() throws {
    try tool.succeed("export", "b.lmoe", "--to", "lmoe", "--no-base", "-o", "e.lmoe")
    let output = try tool.run("generate", "e.lmoe", "-p", "x", "-n", "2")
    #expect(output.status == 3 && output.out == "")
    let own = try tool.succeed("generate", "b.lmoe", "-p", "Once", "-n", "9", "--uniform").out
    for place in [Self.embedded + "/base", "b.lmoe"] {
      #expect(
        try tool.succeed(
          "generate", "e.lmoe", "-p", "Once", "-n", "9", "--uniform", "--base-weights", place
        ).out == own)
    }
  }
}
