import Foundation
import LMoECore
import Testing

/// Adapters that were made to do harm: each ends in one sentence, soon, and in little memory.
@Suite(.timeLimit(.minutes(2))) struct HostileAdapterTests {
  private let tool: Tool

  init() throws { tool = try Tool() }

  private typealias Tensors = [(name: String, shape: [Int])]

  private static let prefix = "base_model.model."

  /// Two gigabytes for everything, where there is such a limit.
  private static let memory: String? = {
    #if os(Linux)
      "-v 2000000"
    #else
      nil
    #endif
  }()

  /// The factors of `q_proj` in both layers.
  private static let good: Tensors = (0..<2).flatMap { layer in
    [("A", [2, 32]), ("B", [64, 2])].map {
      ("\(prefix)model.layers.\(layer).self_attn.q_proj.lora_\($0.0).weight", $0.1)
    }
  }

  /// Writes an adapter of zeros: a head laid out by hand, since a writer would refuse these names.
  private func makeAdapter(
    _ tensors: Tensors = good, _ changes: [(String, JSON)] = [], text: String? = nil
  ) throws {
    try FileManager.default.createDirectory(atPath: tool.path("x"), withIntermediateDirectories: true)
    var configuration: JSONObject = JSONObject()
    for (key, value) in [
      ("peft_type", "LORA"), ("r", 2), ("lora_alpha", 4), ("target_modules", ["q_proj"]),
    ] + changes {
      configuration[key] = value
    }
    let json = text ?? JSON.object(configuration).serialized()
    try Data(json.utf8).write(to: URL(filePath: tool.path("x/adapter_config.json")))
    var head = "{"
    var end = 0
    for (name, shape) in tensors {
      let start = end
      end += 4 * shape.reduce(1, *)
      if start > 0 { head += "," }
      head += JSON.string(name).serialized()
      head += ":{\"dtype\":\"F32\",\"shape\":\(shape),\"data_offsets\":[\(start),\(end)]}"
    }
    head += "}"
    let length = (0..<8).map { UInt8(truncatingIfNeeded: head.utf8.count >> (8 * $0)) }
    let file = tool.path("x/adapter_model.safetensors")
    try Data(length + Array(head.utf8)).write(to: URL(filePath: file))
    #expect(truncate(file, off_t(8 + head.utf8.count + end)) == 0)
  }

  /// Imports it with little memory; what it says, without notes and what it suggests.
  private func sentence(sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
    let names = try tool.names()
    let output = try tool.run(
      ["import", "--base", "\(Tool.fixtures)/families/llama", "--expert", "x=x", "-o", "a.lmoe"],
      limit: Self.memory)
    #expect(
      output.status == 3 && !output.wasKilled && output.out == "", "\(output)",
      sourceLocation: sourceLocation)
    #expect(
      !output.err.unicodeScalars.contains {
        $0 != "\n" && $0.properties.generalCategory == .control
      }, sourceLocation: sourceLocation)
    #expect(try tool.names() == names, "something was left", sourceLocation: sourceLocation)
    let lines = output.err.split(separator: "\n").filter { !$0.hasPrefix("Note: ") }
    #expect(lines.count == 1 && output.err.utf8.count < 3000, sourceLocation: sourceLocation)
    return withoutSuggestion(String(lines.first ?? ""))
  }

  @Test func `as it stands it is imported`() throws {
    try makeAdapter()
    let output = try tool.run(
      ["import", "--base", "\(Tool.fixtures)/families/llama", "--expert", "x=x", "-o", "a.lmoe"],
      limit: Self.memory)
    #expect(output.status == 0, "\(output)")
  }

  @Test(
    arguments: [
      ("a\u{1B}[2J\u{1B}]0;x\u{7}\n.lora_A.weight", "a␛[2J␛]0;x␇␊.lora_A.weight"),
      ("../../x", "../../x"), ("a/../../x.lora_A.weight", "a/../../x.lora_A.weight"),
    ]) func `names of tensors`(name: String, shown: String) throws
  {
    try makeAdapter(Self.good + [(name, [1])])
    let sentence = try sentence()
    #expect(sentence.hasPrefix("Error: x/adapter_model.safetensors: \"\(shown)\": not a valid safetensors"))
    #expect(sentence.hasSuffix("; export it again"))
  }

  @Test func `a name that is a path`() throws {
    try makeAdapter(Self.good + [(Self.prefix + "/etc/passwd.weight", [32])])
    #expect(
      try sentence()
        == "Error: x/adapter_model.safetensors: the tensor \"base_model.model./etc/passwd.weight\" is nothing a LoRA adapter has; nothing was imported: remove it if it is not needed"
    )
  }

  @Test func `a million tensors`() throws {
    let shapes = [[1], [1, 1], [2, 32]]
    for (suffix, shape, ending) in [
      (
        "", shapes[0],
        "the tensor \"m.0\" is nothing a LoRA adapter has; nothing was imported: remove it if it is not needed"
      ),
      (
        ".lora_A.weight", shapes[0],
        "the tensor \"m.0.lora_A.weight\" has the shape [1], and needs two dimensions; gather the shards before saving (ZeRO-3, FSDP)"
      ),
      (
        ".lora_A.weight", shapes[1],
        "the module \"m.0\" has no lora_B, which adapter_config.json calls for; save the adapter again"
      ),
    ] {
      try makeAdapter((0..<1_000_000).map { ("m.\($0)\(suffix)", shape) })
      #expect(try sentence() == "Error: x/adapter_model.safetensors: \(ending)")
    }
  }

  @Test func `a head larger than any`() throws {
    try makeAdapter((0..<200_000).map { ("m.\($0)." + String(repeating: "n", count: 500), [1]) })
    let sentence = try sentence()
    #expect(
      sentence.contains("not a valid safetensors file (header length: expected at most 100000000, found"))
  }

  @Test(
    arguments: [
      "((((x{1000}){1000}){1000}){1000})", String(repeating: "(", count: 4000),
      String(repeating: "(a|b)", count: 100_000), "(?=x)q_proj", #"(q)\1"#, "\u{1B}[2J[",
    ]) func `patterns that explode`(pattern: String) throws
  {
    for key in ["rank_pattern", "alpha_pattern"] {
      try makeAdapter(Self.good, [(key, .object([(pattern, 2 as JSON)]))])
      let sentence = try sentence()
      #expect(sentence.hasPrefix("Error: x/adapter_config.json: the pattern \""))
      #expect(sentence.hasSuffix("write it out as module names"))
    }
    // What cannot be told of the targets is only noted.
    try makeAdapter(Self.good + [("ghost", [1])], [("target_modules", .string(pattern))])
    #expect(try sentence().contains("the tensor \"ghost\" is nothing a LoRA adapter has"))
  }

  @Test func `patterns that only take long elsewhere`() throws {
    let pattern = "(.*a)*(.*a)*(.*a)*(a+)+(a|a)*"
    try makeAdapter(
      Self.good, [("rank_pattern", .object([(pattern, 9 as JSON)])), ("target_modules", .string(pattern))])
    #expect(
      try sentence()
        == "Error: x/adapter_model.safetensors: there are factors for \"model.layers.0.self_attn.q_proj\", which adapter_config.json leaves out (target_modules, exclude_modules, layers_to_transform), so PEFT would not load them; correct one of them"
    )
  }

  @Test func `patterns without end`() throws {
    try makeAdapter(
      Self.good, [("rank_pattern", .object((0..<4097).map { ("k\($0)", 2 as JSON) }))])
    #expect(
      try sentence()
        == "Error: x/adapter_config.json is not a valid configuration: rank_pattern has more than 4,096 keys")
    try makeAdapter(
      Self.good, [("rank_pattern", .object((0..<4096).map { ("(?:[a-z]{1,60}){1,60}k\($0)", 2 as JSON) }))])
    #expect(try sentence().contains("in rank_pattern cannot be used (it has too many steps"))
    let modules = (0..<5000).flatMap {
      [("m.\($0).lora_A.weight", [2, 1]), ("m.\($0).lora_B.weight", [1, 2])]
    }
    try makeAdapter(
      modules, [("rank_pattern", .object((0..<4096).map { ("(.*)*(.*)*k\($0)", 2 as JSON) }))])
    #expect(
      try sentence()
        == "Error: x/adapter_config.json is not a valid configuration: rank_pattern and alpha_pattern are too much work for this many modules; write module names"
    )
  }

  @Test func `a configuration without a floor`() throws {
    let deep = String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
    try makeAdapter(text: "{\"peft_type\":\"LORA\",\"x\":\(deep)}")
    #expect(
      try sentence()
        == "Error: x/adapter_config.json is not a valid configuration: nested more than 64 deep (byte 87)")
  }

  static let bombs: [JSON] = [
    [[0, 1_000_000_000]], .array(Array(repeating: [0, 10_000], count: 10_000)),
    .array(Array(repeating: [0, 2], count: 5001)), [[0, .integer(Int.max)]], [[-1, 2]], [[2, 0]], [[0]],
    .array(Array(repeating: [0, 0], count: 10_001)), "x", 7,
  ]

  @Test(arguments: bombs.indices) func `stacks of layers without end`(index: Int) throws {
    try makeAdapter(Self.good, [("layer_replication", Self.bombs[index])])
    #expect(
      try sentence()
        == "Error: x/adapter_config.json is not a valid configuration: layer_replication is not a list of [start, end) pairs"
    )
  }

  @Test func `the highest stack, with a whole tensor for each layer`() throws {
    let norms = (0..<10_000).map { ("\(Self.prefix)model.layers.\($0).input_layernorm.weight", [32]) }
    let rows = [("\(Self.prefix)model.embed_tokens.token_adapter.trainable_tokens_delta", [1, 32])]
    try makeAdapter(
      rows + norms + [("ghost", [1])],
      [
        ("layer_replication", .array(Array(repeating: [0, 2], count: 5000))), ("target_modules", []),
        ("trainable_token_indices", [1]),
      ])
    #expect(try sentence().contains("the tensor \"ghost\" is nothing a LoRA adapter has"))
  }

  @Test(
    arguments: [
      ("r", 1_152_921_504_606_846_976, "r is not a positive whole number"),
      ("rank_pattern", ["q_proj": 1_152_921_504_606_846_976], "a rank in rank_pattern is not positive"),
      ("lora_alpha", .number(JSONNumber(text: "1e999")), "lora_alpha is not a number"),
      (
        "trainable_token_indices", [.integer(Int.max)],
        "trainable_token_indices has an element that is not an index"
      ),
      (
        "layers_to_transform", [.number(JSONNumber(text: "9223372036854775808"))],
        "layers_to_transform has an element that is not an index"
      ),
    ] as [(String, JSON, String)])
  func `numbers beyond all sizes`(key: String, value: JSON, what: String) throws {
    let rows = ("\(Self.prefix)model.embed_tokens.token_adapter.trainable_tokens_delta", [1, 32])
    try makeAdapter(Self.good + (key == "trainable_token_indices" ? [rows] : []), [(key, value)])
    #expect(try sentence() == "Error: x/adapter_config.json is not a valid configuration: \(what)")
  }

  @Test(
    arguments: [
      "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",
      "model.layers.0.self_attn.q_proj.lora_A.weight",
      "base_model.model.model._orig_mod.layers.0.self_attn.q_proj.lora_A.weight",
    ]) func `one tensor in two spellings`(name: String) throws
  {
    try makeAdapter([(name, [2, 32])] + Self.good)
    #expect(
      try sentence()
        == "Error: x/adapter_model.safetensors: the tensors \"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight\" and \"\(name)\" are for the same place; remove one"
    )
  }

  @Test func `texts and files that move the cursor`() throws {
    try makeAdapter(
      Self.good, [("peft_type", .string("\u{1B}[31m" + String(repeating: "X", count: 100_000)))])
    #expect(try sentence().contains("\"peft_type\" is \"\\u001b[31mXXX"))
    try makeAdapter(Self.good, [("zz\u{1B}[2J", 1), ("target_modules", ["\u{1B}[2J"])])
    #expect(try sentence().contains("there are factors for"))
    try makeAdapter()
    try Data("x".utf8).write(to: URL(filePath: tool.path("x/a\u{1B}[2Jb.txt")))
    #expect(
      try sentence()
        == "Error: x: the name \"a␛[2Jb.txt\" cannot be used (control characters or \"..\" in a file name)")
  }
}
