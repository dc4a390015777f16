import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// What `inspect` shows: the screens, line by line, and the JSON that is documented (spec/inspect.md).
///
/// `LMOE_UPDATE_SNAPSHOTS=1` in the environment writes the screens anew.
@Suite(.timeLimit(.minutes(2))) struct InspectTests {
  private let tool: Tool

  init() throws {
    tool = try Tool()
    try tool.makeBundle("a.lmoe", experts: ["math", "code", "verse", "dora", "embed", "saved"])
  }

  /// A screen without what is never the same twice: times, fresh ids, sizes that the compressor decides.
  private static func masked(_ screen: String) -> String {
    screen.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      var line = line.replacing(#/\d{4}-\d\d-\d\d \d\d:\d\d/#, with: "0000-00-00 00:00")
        .replacing(#/00:00:\d\d/#, with: "00:00:00")
        .replacing(#/\b[\d.]+ ((B|kB|MB)\b|%\))/#) { match in
          match.output.0.replacing(#/\d/#, with: "9")
        }
      if !line.contains("content id"), !line.contains("source") {
        line = line.replacing(#/(id +)[0-9a-f]{32}/#) { $0.output.1 + String(repeating: "0", count: 32) }
      }
      return String(line).replacingOccurrences(of: Tool.fixtures, with: "@")
    }.joined(separator: "\n")
  }

  static let screens: [(name: String, arguments: [String])] = [
    ("bundle", ["a.lmoe"]), ("experts", ["a.lmoe", "--experts"]), ("gate", ["a.lmoe", "--gate"]),
    ("provenance", ["a.lmoe", "--provenance"]),
    ("tensor", ["a.lmoe", "--tensor", "model.norm.weight"]),
    ("checkpoint", ["\(Tool.fixtures)/families/qwen2"]),
    ("adapter", ["\(Tool.fixtures)/adapters/verse"]),
  ]

  @Test(arguments: screens.indices) func `the screens`(index: Int) throws {
    let (name, arguments) = Self.screens[index]
    let output = try tool.run(["inspect"] + arguments)
    #expect(output.status == 0 && output.err == "")
    let text = Self.masked(output.out)
    let file = HelpTests.snapshots.appending(path: "inspect-\(name).txt")
    if ProcessInfo.processInfo.environment["LMOE_UPDATE_SNAPSHOTS"] == "1" {
      try Data(text.utf8).write(to: file)
    }
    let old = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
    #expect(old == text, "\(name):\n\(HelpTests.difference(old, text))")
  }

  /// Columns in a terminal, for the characters of these tests.
  private static func width(_ line: Substring) -> Int {
    line.reduce(0) { sum, character in
      let first = character.unicodeScalars.first?.value ?? 0
      return sum + ((0x3000...0x9FFF).contains(first) || (0x1F300...0x1FAFF).contains(first) ? 2 : 1)
    }
  }

  private func expectNarrow(_ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation) throws {
    let output = try tool.run(["inspect"] + arguments)
    #expect(output.status == 0 && output.err == "", sourceLocation: sourceLocation)
    let wide = output.out.split(separator: "\n").filter { Self.width($0) > 80 }
    #expect(wide == [], "\(arguments)", sourceLocation: sourceLocation)
    #expect(!output.out.contains("\u{1B}"), sourceLocation: sourceLocation)
  }

  @Test func `nothing is wider than the terminal, and nothing is coloured in a pipe`() throws {
    for options in [
      [], ["--experts"], ["--gate"], ["--provenance"], ["--history"], ["--tensors"],
      ["--tensor", "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"],
    ] { try expectNarrow(["a.lmoe"] + options) }
  }

  @Test(
    arguments: [
      String(repeating: "n", count: 255), String(repeating: "数", count: 85),
      String(repeating: "数学 ", count: 28) + "x", String(repeating: "👩‍👩‍👧‍👦", count: 10),
      String(repeating: "e\u{301}", count: 80),
    ]) func `names that are long and wide`(name: String) throws
  {
    try tool.succeed("rename", "a.lmoe", "math", name)
    for options in [[], ["--experts"], ["--gate"], ["--provenance"], ["--history"], ["--tensors"]] {
      try expectNarrow(["a.lmoe"] + options)
    }
    // Whoever needs the whole name finds it in the JSON.
    let json = try tool.succeed("inspect", "a.lmoe", "--json").json()
    #expect(json["experts"]?.array?.contains { $0["name"]?.string == name } == true)
    let line = try tool.succeed("inspect", "a.lmoe").out.split(separator: "\n").filter { $0.contains("…") }
    #expect(!line.isEmpty)
  }

  @Test func `numbers that no writer writes`() throws {
    let writer = try BundleWriter(creating: tool.path("numbers"))
    let huge: JSON = .number(JSONNumber(text: "1e300"))
    let norms: [JSON] = [
      -5, 1, .number(JSONNumber(text: "-1e308")), .number(JSONNumber(text: "1e-300")), nil,
    ]
    let targets = norms.indices.map { JSON.string("model.layers.\($0).q_proj") }
    let expert: JSON = [
      "type": "lora", "parameters": .integer(Int.min), "norm": -1, "share": huge,
      "modules": [
        [
          "rank": .integer(Int.max), "alpha": huge, "scaling": huge, "targets": .array(targets),
          "norms": .array(norms),
        ],
        ["rank": 1, "alpha": -1, "scaling": -1, "targets": ["model.layers.9.k_proj"], "norms": [-1]],
      ],
    ]
    try writer.addBank("expert/x", card: expert, entries: [])
    try writer.commit(note: "")
    let output = try tool.succeed("inspect", "numbers", "--experts")
    // Only the one above zero that is not far below the largest has a bar of its own.
    #expect(output.out.contains("▁█▁▁") && output.out.contains("1.0e300"))
  }

  @Test func `cards that move the cursor`() throws {
    let text = JSON.string("\u{1B}[2J\n" + String(repeating: "x", count: 100))
    let origin: JSON = ["imported_from": text, "tool": text]
    let writer = try BundleWriter(creating: tool.path("hostile"))
    let base: JSON = [
      "architecture": text, "model_type": text, "provenance": origin, "source_id": text,
      "dtypes": .object([(text.string ?? "", 1 as JSON)]), "left_out": [text, text], "ignored_keys": [text],
      "text": ["tokenizer": [text], "chat_template": text, "named_templates": [text]],
    ]
    try writer.addBank("base", card: base, entries: [])
    let expert: JSON = [
      "type": text, "provenance": origin, "base": ["name": text, "match": text, "source_id": text],
      "modules": [["rank": 1, "alpha": 1, "scaling": 1, "targets": [text]]], "layer_replication": text,
      "replaces": [["tensor": text, "with": text]], "dtypes": .object([(text.string ?? "", 1 as JSON)]),
    ]
    try writer.addBank("expert/x", card: expert, entries: [])
    let gate: JSON = [
      "score": text, "scope": text, "members": [["expert": text, "role": text]], "weights": text, "k": text,
    ]
    try writer.addBank("gate/g", card: gate, entries: [])
    try writer.commit(note: text.string ?? "")
    for options in [[], ["--experts"], ["--gate"], ["--provenance"], ["--history"], ["--tensors"]] {
      try expectNarrow(["hostile"] + options)
    }
  }

  private func keys(_ json: JSON?) -> [String] { json?.object?.members.map(\.key) ?? [] }

  private func json(_ arguments: String...) throws -> JSON {
    let json = try tool.run(["inspect"] + arguments + ["--json"]).json()
    #expect(json["schema"] == 1, "\(arguments)")
    return json
  }

  @Test func `the JSON of a bundle`() throws {
    let expert = [
      "name", "id", "kind", "ranks", "alpha", "targets", "parameters", "stored_bytes", "raw_bytes",
      "content_id", "base", "norm", "share", "training",
    ]
    let top = [
      "schema", "format", "generation", "file_bytes", "live_bytes", "runs_from_map", "base", "experts",
      "gates",
    ]
    let plain = try json("a.lmoe")
    #expect(keys(plain) == top)
    #expect(plain["experts"]?.array?.map { keys($0) } == Array(repeating: expert, count: 6))
    let full = try json("a.lmoe", "--experts")
    #expect(keys(full) == top)
    for item in try #require(full["experts"]?.array) {
      #expect(keys(item) == expert + ["card"] && item["card"]?["type"] == "lora")
    }
    #expect(try keys(json("a.lmoe", "--gate")) == top)
    let experts = try #require(plain["experts"]?.array)
    for item in experts {
      // What DoRA does to a weight depends on the weight.
      let isKnown = item["name"] != "dora"
      #expect((item["norm"]?.double != nil) == isKnown && (item["share"]?.double != nil) == isKnown)
      if let norm = item["norm"]?.double, let share = item["share"]?.double {
        #expect(norm > 0.1 && norm < 100 && share > 0.01 && share < 2)
      }
    }
    let provenance = try json("a.lmoe", "--provenance")
    #expect(keys(provenance) == top + ["provenance"])
    let items = try #require(provenance["provenance"]?.array)
    #expect(items.map { $0["bank"]?.string } == (try Bundle(path: tool.path("a.lmoe")).banks.map(\.name)))
    for item in items {
      #expect(
        keys(item) == [
          "bank", "id", "content_id", "provenance", "source_id", "left_out", "ignored_keys", "documents",
        ])
      for document in item["documents"]?.array ?? [] { #expect(keys(document) == ["name", "bytes"]) }
    }
  }

  /// The norm of an expert is that of all its modules, whose norms PEFT's live layers gave.
  @Test func `norm and share`() throws {
    let base = "\(Tool.fixtures)/families/llama"
    let adapter = "\(Tool.fixtures)/variants/llama/patterns"
    #expect(try tool.run("import", "--base", base, "--expert", "p=\(adapter)", "-o", "b.lmoe").status == 0)
    let expected = try JSON(
      parsing: [UInt8](try Data(contentsOf: URL(filePath: adapter + ".expected.json"))))
    let norms = try #require(expected["delta_norms"]?.object).members.compactMap { $0.value.double }
    let whole = norms.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let expert = try #require(try json("b.lmoe")["experts"]?.array?.first)
    let norm = try #require(expert["norm"]?.double)
    #expect(abs(norm - whole) <= 1e-5 * whole)
    // The share is of the weights that are changed: their squares, from the numbers of each tensor.
    var squares = 0.0
    for module in try #require(expected["modules"]?.object).members.map(\.key) {
      let tensor = try json("b.lmoe", "--tensor", module + ".weight")
      let rms = try #require(tensor["values"]?["rms"]?.double)
      let count = try #require(tensor["shape"]?.array).compactMap(\.int).reduce(1, *)
      squares += rms * rms * Double(count)
    }
    let share = try #require(expert["share"]?.double)
    #expect(abs(share - norm / squares.squareRoot()) <= 1e-5 * share)
  }

  @Test func `the JSON of a tensor`() throws {
    let tensor = try json("a.lmoe", "--tensor", "model.embed_tokens.weight")
    #expect(
      keys(tensor) == [
        "schema", "format", "bank", "name", "dtype", "shape", "raw_bytes", "stored_bytes", "codec",
        "also_in", "content_hash", "values",
      ])
    #expect(tensor["format"] == "tensor" && tensor["bank"] == "base" && tensor["shape"] == [320, 64])
    #expect(keys(tensor["values"]) == ["min", "max", "mean", "rms", "zeros", "not_finite"])
    let missing = try tool.run("inspect", "a.lmoe", "--tensor", "ghost")
    #expect(missing.status == 3 && missing.out == "" && missing.err.hasPrefix("Error: a.lmoe"))
    #expect(
      try tool.run("import", "--base", "\(Tool.fixtures)/tiny-llama", "--no-embed-base", "-o", "e").status
        == 0)
    #expect(try json("e", "--tensor", "model.norm.weight")["values"] == .null)
  }

  @Test func `the JSON of checkpoints and adapters`() throws {
    let checkpoint = try json("\(Tool.fixtures)/families/qwen2")
    #expect(
      keys(checkpoint) == [
        "schema", "format", "path", "architecture", "model_type", "parameters", "files", "model",
      ])
    #expect(checkpoint["format"] == "hf" && checkpoint["model"]?["windows"] == [nil, 8, 8])
    let adapter = try json("\(Tool.fixtures)/adapters/saved")
    #expect(
      keys(adapter) == [
        "schema", "format", "path", "kind", "base", "parameters", "modules", "replaces", "tokens",
        "unknown_keys",
      ])
    #expect(adapter["format"] == "peft" && adapter["base"] == "tiny-llama")
    #expect(adapter["replaces"]?.array?.last == "model.norm")
    // What cannot be imported can be looked at, and says why it cannot.
    let file = URL(filePath: "\(Tool.fixtures)/families/llama/config.json")
    let text = try String(contentsOf: file, encoding: .utf8).replacing("\"silu\"", with: "\"gelu\"")
    try FileManager.default.copyItem(atPath: "\(Tool.fixtures)/families/llama", toPath: tool.path("g"))
    try Data(text.utf8).write(to: URL(filePath: tool.path("g/config.json")))
    #expect(
      try json("g")["refused"]
        == "g/config.json: \"hidden_act\" is \"gelu\", which this tool cannot compute")
    #expect(
      try tool.succeed("inspect", "g").out.contains("  cannot be imported: g/config.json: \"hidden_act\""))
  }
}
