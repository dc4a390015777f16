import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// What somebody's own files do to a tool in its first hour.
@Suite(.timeLimit(.minutes(2))) struct FirstHourTests {
  private let tool: Tool

  init() throws { tool = try Tool() }

  private static let llama = "\(Tool.fixtures)/families/llama"

  private static func variant(_ name: String) -> String { "\(Tool.fixtures)/variants/\(name)" }

  /// A copy of a directory of the fixtures.
  private func copy(_ fixture: String, as name: String) throws {
    for (file, bytes) in try contents(ofDirectory: "\(Tool.fixtures)/\(fixture)") {
      let target = URL(filePath: tool.path(name) + "/" + file)
      try FileManager.default.createDirectory(
        at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
      try bytes.write(to: target)
    }
  }

  private func expectRefused(
    _ arguments: [String], _ sentence: String, status: Int32 = 3, limit: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let names = try tool.names()
    let output = try tool.run(arguments, limit: limit)
    #expect(
      output.status == status && output.out == "" && !output.wasKilled, "\(output)",
      sourceLocation: sourceLocation)
    let lines = output.err.split(separator: "\n").filter { !$0.hasPrefix("Note: ") }
    #expect(
      lines.map { withoutSuggestion(String($0)) } == ["Error: " + sentence], sourceLocation: sourceLocation)
    #expect(try tool.names() == names, "something was left", sourceLocation: sourceLocation)
  }

  private func inspect(_ file: String = "a.lmoe", _ options: String...) throws -> JSON {
    try tool.run(["inspect", file, "--json"] + options).json()
  }

  @Test func `adapters in F32, BF16 and F16 on a base in BF16`() throws {
    try tool.makeBundle("a.lmoe", experts: ["math", "code", "verse"])
    let json = try inspect("a.lmoe", "--experts")
    let dtypes = (json["experts"]?.array ?? []).map { $0["card"]?["dtypes"]?.object?.members.map(\.key) }
    #expect(dtypes == [["BF16"], ["F32"], ["F16"]])
    #expect(json["base"]?["dtypes"] == ["BF16": 149952])
    for name in ["math", "code", "verse"] {
      try tool.succeed("export", "a.lmoe", "--to", "peft", "--expert", name, "-o", name)
      #expect(try contents(ofDirectory: tool.path(name)) == contents(ofDirectory: Tool.adapter(name)))
    }
  }

  @Test func `an adapter that was trained on another base`() throws {
    // The shapes may agree: then it is said that the names differ, and no more is known.
    try copy("tiny-llama", as: "finetuned")
    let output = try tool.run(
      "import", "--base", "finetuned", "--expert", "m=\(Tool.adapter("math"))", "-o", "a.lmoe")
    #expect(output.status == 0)
    #expect(
      output.err
        == "Note: \(Tool.adapter("math")) says it was trained on \"tiny-llama\"; this base came from \"finetuned\". Names and shapes agree, so it was added as asserted.\n"
    )
    #expect(try inspect()["experts"]?.array?.first?["base"]?["match"] == "asserted")
    // Or not.
    let adapter = Self.variant("qwen2/classic")
    try expectRefused(
      ["import", "--base", Self.llama, "--expert", "x=\(adapter)", "-o", "b.lmoe"],
      "\(adapter)/adapter_model.safetensors: the adapter's tensors for \"model.layers.0.self_attn.q_proj\" are for a weight of [32, 32], and the base has [64, 32]; it was trained on another base"
    )
  }

  @Test func `forty unknown keys`() throws {
    let adapter = Self.variant("llama/unknown-keys")
    let output = try tool.run("import", "--base", Self.llama, "--expert", "x=\(adapter)", "-o", "a.lmoe")
    #expect(output.status == 0)
    let notes = output.err.split(separator: "\n")
    #expect(notes.count == 2)
    #expect(
      notes.last
        == "Note: \(adapter): adapter_config.json has keys this tool does not know, carried as they are: future_option_02, future_option_04, future_option_05, future_option_06, future_option_07, future_option_09, future_option_10, future_option_12, future_option_14, future_option_17, future_option_19, future_option_20, future_option_21, future_option_22, future_option_24, future_option_25, future_option_27, future_option_29, future_option_32, future_option_34, future_option_35, future_option_36, future_option_37, future_option_39"
    )
  }

  @Test func `target_modules as a regular expression`() throws {
    try tool.makeBundle("a.lmoe", experts: ["regex"])
    #expect(try inspect()["experts"]?.array?.first?["targets"] == ["down_proj", "k_proj", "q_proj"])
    // It says what must be there, as a list does.
    try copy("adapters/regex", as: "cut")
    let file = try SafetensorsFile(path: tool.path("cut/adapter_model.safetensors"))
    try SafetensorsWriter.write(
      file.path,
      tensors: file.tensors.filter { !$0.name.contains("layers.2.mlp.down_proj") }.map {
        NewEntry(tensor: $0.name, type: $0.type, source: file.source(of: $0))
      })
    try expectRefused(
      ["add", "a.lmoe", "x=cut"],
      "cut/adapter_model.safetensors: the module \"model.layers.2.mlp.down_proj\" has no lora_A and lora_B, which adapter_config.json calls for; save the adapter again"
    )
  }

  @Test func `an adapter that was saved empty`() throws {
    let adapter = Self.variant("refused/empty")
    #expect(try contents(ofDirectory: adapter)["adapter_model.safetensors"]?.count == 40)
    try expectRefused(
      ["import", "--base", Self.llama, "--expert", "x=\(adapter)", "-o", "a.lmoe"],
      "\(adapter)/adapter_model.safetensors holds no LoRA tensors; the adapter was saved empty: save it again"
    )
  }

  @Test func `a shard that is missing`() throws {
    try copy("tiny-llama-sharded", as: "sharded")
    try FileManager.default.removeItem(atPath: tool.path("sharded/model-00002-of-00004.safetensors"))
    try expectRefused(
      ["import", "--base", "sharded", "-o", "a.lmoe"],
      "sharded/model.safetensors.index.json names the shard \"model-00002-of-00004.safetensors\", which is not there; download the checkpoint again"
    )
  }

  @Test func `a tied head`() throws {
    let shipped = "\(Tool.fixtures)/families/llama-shipped"
    #expect(try tool.run("import", "--base", shipped, "-o", "a.lmoe").status == 0)
    #expect(try inspect()["base"]?["model"]?["tied"] == true)
    // A head that is trained unties it.
    let base = "\(Tool.fixtures)/families/qwen2"
    let adapter = Self.variant("qwen2/saved-head")
    #expect(try tool.run("import", "--base", base, "--expert", "h=\(adapter)", "-o", "b.lmoe").status == 0)
    #expect(
      try inspect("b.lmoe", "--experts")["experts"]?.array?.first?["card"]?["replaces"]
        == [["tensor": "lm_head.weight", "with": "base_model.model.lm_head.weight", "same": false]])
    let screen = try tool.succeed("inspect", "b.lmoe").out
    #expect(screen.contains("vocabulary 96 (tied)") && screen.contains("+head"))
  }

  @Test func `the spellings of transformers 4 and 5`() throws {
    for (name, type, theta) in [("llama-v4", "dynamic", 5000), ("llama", "llama3", 10_000)] {
      let base = "\(Tool.fixtures)/families/\(name)"
      #expect(try tool.run("import", "--base", base, "-o", name).status == 0)
      let rope = try inspect(name)["base"]?["model"]?["rope"]
      #expect(rope?["type"]?.string == type && rope?["theta"]?.int == theta)
    }
  }

  @Test func `a chat template in a file of its own`() throws {
    try tool.makeBundle("a.lmoe", experts: [])
    #expect(try inspect()["base"]?["text"]?["chat_template"] == "chat_template.jinja")
    try tool.succeed("export", "a.lmoe", "--to", "hf", "-o", "out")
    #expect(
      try tool.contents("out/chat_template.jinja")
        == [UInt8](Data(contentsOf: URL(filePath: "\(Tool.fixtures)/tiny-llama/chat_template.jinja"))))
  }

  @Test func `ranks of zero and values that are no numbers`() throws {
    let first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    for (name, rest) in [
      (
        "zero-rank",
        "the tensor \"\(first)\" has the shape [0, 32]: nothing is in it, and needs a rank of at least one"
      ),
      (
        "nan",
        "element 34 of the tensor \"\(first)\" is not a finite number; the training diverged: take an earlier checkpoint"
      ),
    ] {
      let adapter = Self.variant("refused/" + name)
      try expectRefused(
        ["import", "--base", Self.llama, "--expert", "x=\(adapter)", "-o", "a.lmoe"],
        "\(adapter)/adapter_model.safetensors: \(rest)")
    }
  }

  @Test func `paths with spaces`() throws {
    try copy("tiny-llama", as: "my models/tiny llama")
    try copy("adapters/math", as: "my models/math adapter")
    try tool.succeed("import", "--base", "\(Tool.fixtures)/tiny-llama", "-o", "my models/a b.lmoe")
    try tool.succeed("add", "my models/a b.lmoe", "my math=my models/math adapter")
    try tool.succeed("verify", "my models/a b.lmoe", "--against-base", "my models/tiny llama")
    try tool.succeed(
      "export", "my models/a b.lmoe", "--to", "peft", "--expert", "my math", "-o", "my models/out of it")
    #expect(
      try contents(ofDirectory: tool.path("my models/out of it"))
        == contents(ofDirectory: Tool.adapter("math")))
  }

  @Test func `a disk that is full`() throws {
    try tool.makeBundle("a.lmoe", experts: ["math"])
    let bytes = try tool.contents("a.lmoe")
    // A limit on the size of files stands for it: in blocks of 512 bytes.
    try expectRefused(
      ["add", "a.lmoe", "code=\(Tool.adapter("code"))"],
      "cannot write a.lmoe at offset \(bytes.count): File too large", status: 74,
      limit: "-f \(bytes.count / 512)")
    #expect(try tool.contents("a.lmoe") == bytes)
    try tool.succeed("verify", "a.lmoe", "--full")
    for arguments in [
      ["import", "--base", "\(Tool.fixtures)/tiny-llama", "-o", "b.lmoe"],
      ["compact", "a.lmoe"], ["export", "a.lmoe", "--to", "hf", "-o", "out"],
      ["export", "a.lmoe", "--to", "lmoe", "-o", "b.lmoe"],
    ] {
      let output = try tool.run(arguments, limit: "-f 200")
      #expect(output.status == 74 && output.out == "" && !output.wasKilled)
      #expect(output.err.hasPrefix("Error: cannot write ") && output.err.hasSuffix(": File too large\n"))
      #expect(try tool.names() == ["a.lmoe"] && tool.contents("a.lmoe") == bytes, "\(arguments)")
    }
    try tool.succeed("add", "a.lmoe", "code=\(Tool.adapter("code"))")
  }
}
