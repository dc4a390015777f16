import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime
import Testing

import class LMoEFormat.Bundle

/// Tokenizers through a GGUF file and back; that llama.cpp makes the same tokens, `fixtures/check_gguf.py` asks it.
@Suite struct GGUFTokenizerTests {
  /// A bundle with a tokenizer, on a model of zeros with as many tokens.
  private static func bundle(_ tokenizer: [UInt8], in fixture: RuntimeFixture) throws -> Bundle {
    let count = try Tokenizer(json: tokenizer, path: "tokenizer.json").numberLimit + 3
    let directory = fixture.directory + "/base"
    try? FileManager.default.removeItem(atPath: directory)
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let configuration: JSON = [
      "model_type": "llama", "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
      "num_attention_heads": 1, "vocab_size": .integer(count), "tie_word_embeddings": true,
      "eos_token_id": [1, 2, 3],
    ]
    let layer = "model.layers.0."
    let shapes: [(String, [Int])] = [
      ("model.embed_tokens", [count, 4]), ("model.norm", [4]), (layer + "input_layernorm", [4]),
      (layer + "post_attention_layernorm", [4]), (layer + "self_attn.q_proj", [4, 4]),
      (layer + "self_attn.k_proj", [4, 4]), (layer + "self_attn.v_proj", [4, 4]),
      (layer + "self_attn.o_proj", [4, 4]), (layer + "mlp.gate_proj", [4, 4]),
      (layer + "mlp.up_proj", [4, 4]), (layer + "mlp.down_proj", [4, 4]),
    ]
    let tensors = try shapes.map { name, shape in
      let type = try #require(TensorType(dtype: .f16, shape: shape.map { UInt64($0) }))
      return NewEntry(
        tensor: name + ".weight", type: type,
        source: MemorySource([UInt8](repeating: 0, count: type.rawBytes)))
    }
    try SafetensorsWriter.write(directory + "/model.safetensors", tensors: tensors)
    try Data(tokenizer).write(to: URL(filePath: directory + "/tokenizer.json"))
    try Data("{{ bos_token }}é".utf8).write(to: URL(filePath: directory + "/chat_template.jinja"))
    try Data(configuration.serialized().utf8).write(to: URL(filePath: directory + "/config.json"))
    let path = "\(fixture.directory)/\(UUID()).lmoe"
    let writer = try BundleWriter(creating: path)
    let checkpoint = try HFCheckpoint(path: directory)
    try writer.addBase(checkpoint, try checkpoint.resolved())
    try writer.commit(note: "test")
    return try Bundle(path: path)
  }

  private static func export(_ bundle: Bundle, _ fixture: RuntimeFixture) throws -> (
    path: String, notes: [String]
  ) {
    let path = "\(fixture.directory)/\(UUID()).gguf"
    return (path, try GGUFExport(bundle, base: try ResolvedBase(bundle)).writeBase(to: path))
  }

  private static func returned(_ path: String, _ fixture: RuntimeFixture) throws -> Bundle {
    let file = "\(fixture.directory)/\(UUID()).lmoe"
    let writer = try BundleWriter(creating: file)
    try writer.addBase(try GGUFBase(path: path))
    try writer.commit(note: "test")
    return try Bundle(path: file)
  }

  static let kinds = [
    ("gpt2", "gpt-2"), ("llama-3", "llama-bpe"), ("nemo", "tekken"), ("o200k", "gpt-4o"), ("qwen2", "qwen2"),
    ("qwen3", "qwen2"), ("smollm2", "smollm"),
  ]

  @Test(arguments: kinds) func `a byte-level tokenizer comes back`(name: String, kind: String) throws {
    let fixture = try RuntimeFixture()
    let bytes = try TokenizerFixture.bytes("\(name)/tokenizer.json")
    let bundle = try Self.bundle(bytes, in: fixture)
    let (path, notes) = try Self.export(bundle, fixture)
    let composes = ["qwen2", "qwen3"].contains(name)
    #expect(notes.contains { $0.contains("composed form (NFC)") } == composes)
    let file = try GGUFFile(path: path)
    #expect(file.value("tokenizer.ggml.model") == .string("gpt2"))
    #expect(file.value("tokenizer.ggml.pre") == .string(kind))
    #expect(file.value("tokenizer.chat_template") == .string("{{ bos_token }}é"))
    let count = try bundle.baseDescription().model.vocabularySize
    #expect(file.value("tokenizer.ggml.tokens")?.strings?.count == count)
    #expect(file.value("tokenizer.ggml.tokens")?.strings?.last == "[PAD\(count - 1)]")
    let original = try Tokenizer(bundle: bundle)
    let again = try Self.returned(path, fixture)
    let tokenizer = try Tokenizer(bundle: again)
    for text in try TokenizerFixture.texts() {
      if composes,
        !text.unicodeScalars.elementsEqual(text.precomposedStringWithCanonicalMapping.unicodeScalars)
      {
        continue
      }
      #expect(
        tokenizer.encode(text, addingSpecialTokens: true)
          == original.encode(text, addingSpecialTokens: true), "\(text)")
    }
    let bank = try again.bank("base")
    #expect(try again.document("files/chat_template.jinja", in: bank) == Array("{{ bos_token }}é".utf8))
  }

  /// A tokenizer of the kind that sentencepiece's are turned into: every way to make a token is a merge.
  static func completed(_ name: String) throws -> [UInt8] {
    var json = try #require(try TokenizerFixture.json("\(name)/tokenizer.json").object)
    var model = try #require(json["model"]?.object)
    let vocabulary = try #require(model["vocab"]?.object).members
    let known = Set(vocabulary.map { ByteKey($0.key) })
    var merges: [JSON] = []
    // Tokens were numbered as they were made.
    for (text, _) in vocabulary.sorted(by: { ($0.value.int ?? 0) < ($1.value.int ?? 0) }) {
      let scalars = Array(text.unicodeScalars)
      if text.hasPrefix("<") || scalars.count < 2 { continue }
      for cut in (1..<scalars.count).reversed() {
        let left = String(String.UnicodeScalarView(scalars[..<cut]))
        let right = String(String.UnicodeScalarView(scalars[cut...]))
        if known.contains(ByteKey(left)), known.contains(ByteKey(right)) {
          merges.append([.string(left), .string(right)])
        }
      }
    }
    model["merges"] = .array(merges)
    json["model"] = .object(model)
    return Array(JSON.object(json).serialized().utf8)
  }

  @Test(arguments: ["llama-2", "mistral-3", "tinyllama"])
  func `a sentencepiece tokenizer comes back`(name: String) throws {
    let fixture = try RuntimeFixture()
    let bundle = try Self.bundle(try Self.completed(name), in: fixture)
    let (path, notes) = try Self.export(bundle, fixture)
    let file = try GGUFFile(path: path)
    #expect(file.value("tokenizer.ggml.model") == .string("llama"))
    #expect(file.value("tokenizer.ggml.add_space_prefix") == .bool(true))
    #expect(file.value("tokenizer.ggml.add_bos_token") == .bool(true))
    #expect(file.value("tokenizer.ggml.bos_token_id") == .u32(1))
    // The first of three ends is that of the text; the others are turns.
    #expect(file.value("tokenizer.ggml.eot_token_id") != nil)
    let isMistral = name == "mistral-3"
    #expect(notes.contains { $0.contains("in front of text after every special token") } == isMistral)
    let original = try Tokenizer(bundle: bundle)
    let tokenizer = try Tokenizer(bundle: try Self.returned(path, fixture))
    var compared = 0
    for text in try TokenizerFixture.texts() {
      // Where the two put spaces differently, and flags that take white space along.
      if isMistral,
        text.hasPrefix(" ") || text.contains("<") || text.contains("[") || text.hasPrefix("\u{2581}")
      {
        continue
      }
      if name == "tinyllama", text.contains("<") || text.contains("two words") { continue }
      compared += 1
      #expect(
        tokenizer.encode(text, addingSpecialTokens: true)
          == original.encode(text, addingSpecialTokens: true), "\(text)")
    }
    #expect(compared > 100)
  }

  static let refused = [
    ("llama-2", "llama.cpp would join \"▁th\" and \"e\", which are no merge here"),
    ("flags", "llama.cpp has no normalizer Sequence"),
    ("gpt2-spaced", "llama.cpp splits text in none of the ways that its pre_tokenizer does"),
    ("metaspace-never", "llama.cpp needs a token for every byte of such a tokenizer"),
    ("truncated", "llama.cpp needs a token for every byte"),
  ]

  @Test(arguments: refused) func `a tokenizer that llama.cpp does not have is refused`(
    name: String, why: String
  ) throws {
    let fixture = try RuntimeFixture()
    let bundle = try Self.bundle(try TokenizerFixture.bytes("\(name)/tokenizer.json"), in: fixture)
    let error = #expect(throws: ExpertError.self) { try Self.export(bundle, fixture) }
    #expect(
      error?.description
        == "\(bundle.path): \"tokenizer.json\" cannot be exported: \(why); leave it out with --no-tokenizer")
    let path = "\(fixture.directory)/without.gguf"
    _ = try GGUFExport(bundle, base: try ResolvedBase(bundle)).writeBase(to: path, withTokenizer: false)
    #expect(try GGUFFile(path: path).value("tokenizer.ggml.model") == .string("none"))
  }

  @Test func `a tokenizer that cannot be rebuilt is left out with a note`() throws {
    let fixture = try RuntimeFixture()
    let bundle = try Self.bundle(try TokenizerFixture.bytes("gpt2/tokenizer.json"), in: fixture)
    let (path, _) = try Self.export(bundle, fixture)
    let file = try GGUFFile(path: path)
    func notes(_ changes: [(String, GGUFValue?)]) throws -> [String] {
      var keys = file.metadata
      for (key, value) in changes {
        keys.removeAll { $0.key == "tokenizer.ggml." + key }
        if let value { keys.append(("tokenizer.ggml." + key, value)) }
      }
      let changed = "\(fixture.directory)/\(UUID()).gguf"
      try GGUFWriter.write(
        changed, metadata: keys,
        tensors: file.tensors.map { NewEntry(tensor: $0.name, type: $0.type, source: file.source(of: $0)) })
      let base = try GGUFBase(path: changed)
      let bundle = try Self.returned(changed, fixture)
      #expect(try bundle.document("files/tokenizer.json", in: try bundle.bank("base")) == nil)
      return base.notes
    }
    func left(_ why: String) -> [String] {
      ["its tokenizer is left out, for \(why); commands that need text will refuse this bundle"]
    }
    #expect(
      try notes([("pre", .string("kimi-k2"))])
        == left("it splits text in a way called \"kimi-k2\", which this tool does not know"))
    #expect(try notes([("model", .string("t5"))]) == left("it is of the kind \"t5\""))
    #expect(try notes([("merges", nil)]) == left("it has no merges"))
    #expect(
      try notes([("model", .string("llama"))]) == left("it has no scores for all tokens"))
    let scores = GGUFValue.array(
      .f32, [GGUFValue](repeating: .f32(0), count: file.value("tokenizer.ggml.tokens")?.elements?.count ?? 0))
    #expect(
      try notes([("model", .string("llama")), ("scores", scores)]).first?.contains("have the same score")
        == true)
    #expect(
      try notes([("model", .string("none"))])
        == ["it has no tokenizer: commands that need text will refuse this bundle"])
  }
}
