import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

/// Tokenizer, chat template and generation configuration, in all the places where they may be.
@Suite struct TokenizerFilesTests {
  /// A checkpoint with these files beside its own; an empty text makes an empty object.
  private func resolved(_ files: [String: String]) throws -> CheckpointModel {
    let scratch = try Scratch()
    let path = try scratch.copy("families/llama")
    try FileManager.default.removeItem(atPath: path + "/generation_config.json")
    for (name, text) in files {
      let file = URL(filePath: path + "/" + name)
      try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data((text.isEmpty ? "{}" : text).utf8).write(to: file)
    }
    return try HFCheckpoint(path: path).resolved()
  }

  private func tokenizer(_ names: String...) throws -> [String] {
    let model = try resolved(Dictionary(uniqueKeysWithValues: names.map { ($0, "") }))
    #expect(model.tokenizer.hasTokenizer == model.notes.isEmpty)
    return model.tokenizer.tokenizer
  }

  @Test func `tokenizers`() throws {
    #expect(try tokenizer("tokenizer.json") == ["tokenizer.json"])
    #expect(try tokenizer("tokenizer.model") == ["tokenizer.model"])
    #expect(try tokenizer("vocab.json", "merges.txt") == ["vocab.json", "merges.txt"])
    // The first of these is what transformers takes.
    #expect(
      try tokenizer("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt") == ["tokenizer.json"])
    #expect(try tokenizer("tokenizer.model", "vocab.json", "merges.txt") == ["tokenizer.model"])
    for names in [["vocab.json"], ["merges.txt"], ["tokenizer_config.json"], ["Tokenizer.json"]] {
      #expect(try tokenizer(names[0]) == [], "\(names)")
    }
  }

  @Test func `no tokenizer is a note, and no error`() throws {
    let model = try resolved([:])
    #expect(
      model.notes == ["no tokenizer files: commands that need text will refuse this bundle"])
    #expect(model.tokenizer.chatTemplate == nil && model.tokenizer.namedTemplates == [])
    #expect(model.tokenizer.generationConfiguration == nil)
  }

  static let text = ["chat_template": "{{ x }}"] as JSON
  static let list: JSON = [
    "chat_template": [
      ["name": "tool_use", "template": "t"], ["name": "default", "template": "d"],
      ["name": "rag", "template": "r"],
    ]
  ]

  /// What stands where, and where the template is then.
  static let templates: [(files: [String: String], place: String?, named: [String])] = [
    (["chat_template.jinja": "{{ x }}"], "chat_template.jinja", []),
    (["tokenizer_config.json": text.serialized()], "tokenizer_config.json", []),
    (["tokenizer_config.json": list.serialized()], "tokenizer_config.json", ["tool_use", "rag"]),
    (
      ["tokenizer_config.json": #"{"chat_template": [{"name": "rag", "template": "r"}]}"#], nil, ["rag"]
    ),
    (["chat_template.json": text.serialized()], "chat_template.json", []),
    (["additional_chat_templates/rag.jinja": "r"], nil, ["rag"]),
    (
      ["additional_chat_templates/rag.jinja": "r", "chat_template.jinja": "{{ x }}"], "chat_template.jinja",
      ["rag"]
    ),
    // The one before the other.
    (
      [
        "chat_template.jinja": "{{ x }}", "tokenizer_config.json": text.serialized(),
        "chat_template.json": text.serialized(),
      ], "chat_template.jinja", []
    ),
    (
      ["tokenizer_config.json": text.serialized(), "chat_template.json": text.serialized()],
      "tokenizer_config.json", []
    ),
    (
      ["tokenizer_config.json": #"{"chat_template": null}"#, "chat_template.json": ""], "chat_template.json",
      []
    ),
    (["tokenizer_config.json": "", "chat_template.json": ""], "chat_template.json", []),
    (["additional_chat_templates/readme.txt": "x"], nil, []),
    (["templates/chat_template.jinja": "x"], nil, []),
  ]

  @Test(arguments: templates.indices) func `chat templates`(index: Int) throws {
    let (files, place, named) = Self.templates[index]
    let found = try resolved(files).tokenizer
    #expect(found.chatTemplate == place)
    #expect(found.namedTemplates == named)
  }

  @Test func `the generation configuration`() throws {
    #expect(
      try resolved(["generation_config.json": ""]).tokenizer.generationConfiguration
        == "generation_config.json")
  }

  @Test func `a tokenizer configuration that is not JSON`() throws {
    let error = #expect(throws: ExpertError.self) { _ = try resolved(["tokenizer_config.json": "{"]) }
    #expect(error?.code == .invalidConfiguration)
    #expect(error?.path.hasSuffix("/tokenizer_config.json") == true)
  }

  @Test func `the card says the same`() throws {
    let files = try resolved([
      "tokenizer.json": "", "tokenizer_config.json": Self.list.serialized(), "generation_config.json": "",
    ]).tokenizer
    let card: JSON = [
      "tokenizer": ["tokenizer.json"], "chat_template": "tokenizer_config.json",
      "named_templates": ["tool_use", "rag"], "generation_config": "generation_config.json",
    ]
    #expect(files.json == card && TokenizerFiles(card: card) == files)
    let none = try resolved([:]).tokenizer
    #expect(TokenizerFiles(card: none.json) == none)
    #expect(TokenizerFiles(card: [:]) == nil)
    let bundle = try Scratch().bundle()
    #expect(
      try bundle.card(of: bundle.bank("base"))?["text"]
        == [
          "tokenizer": ["tokenizer.json"], "chat_template": "chat_template.jinja", "named_templates": [],
          "generation_config": "generation_config.json",
        ])
  }
}
