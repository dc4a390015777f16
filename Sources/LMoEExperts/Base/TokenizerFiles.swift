public import LMoECore

/// Which files of a checkpoint the commands that need text will read, found in all the places where they may be.
public struct TokenizerFiles: Hashable, Sendable {
  /// `tokenizer.json`, or the legacy files that stand for it; empty if there is no tokenizer.
  public let tokenizer: [String]
  /// Where the chat template is; nil if there is none.
  public let chatTemplate: String?
  /// Templates with names of their own.
  public let namedTemplates: [String]
  /// `generation_config.json`, if it is there.
  public let generationConfiguration: String?

  /// Whether text can be turned into tokens.
  public var hasTokenizer: Bool { !tokenizer.isEmpty }

  /// Looks among `files`, in the order in which transformers does: `chat_template.jinja`, then the key in
  /// `tokenizer_config.json`, then `chat_template.json`.
  init(files: [String], tokenizerConfiguration: JSON?) {
    func has(_ name: String) -> Bool { files.contains { $0.hasSameBytes(as: name) } }
    if has("tokenizer.json") {
      tokenizer = ["tokenizer.json"]
    } else if has("tokenizer.model") {
      tokenizer = ["tokenizer.model"]
    } else if has("vocab.json"), has("merges.txt") {
      tokenizer = ["vocab.json", "merges.txt"]
    } else {
      tokenizer = []
    }
    let directory = "additional_chat_templates/"
    var named = files.filter { $0.hasPrefix(directory) && $0.hasSuffix(".jinja") }
      .map { String($0.dropFirst(directory.utf8.count).dropLast(6)) }
    let key = tokenizerConfiguration?["chat_template"]
    if has("chat_template.jinja") {
      chatTemplate = "chat_template.jinja"
    } else if key?.string != nil {
      chatTemplate = "tokenizer_config.json"
    } else if let list = key?.array {
      let names = list.compactMap { $0["name"]?.string }
      chatTemplate = names.contains("default") ? "tokenizer_config.json" : nil
      named += names.filter { $0 != "default" }
    } else if has("chat_template.json") {
      chatTemplate = "chat_template.json"
    } else {
      chatTemplate = nil
    }
    namedTemplates = named
    generationConfiguration = has("generation_config.json") ? "generation_config.json" : nil
  }

  /// Reads what a card has; nil if it is not what this tool writes.
  public init?(card json: JSON) {
    guard let tokenizer = json["tokenizer"]?.array else { return nil }
    self.tokenizer = tokenizer.compactMap(\.string)
    chatTemplate = json["chat_template"]?.string
    namedTemplates = (json["named_templates"]?.array ?? []).compactMap(\.string)
    generationConfiguration = json["generation_config"]?.string
  }

  /// As a card has it (registry §5.1).
  public var json: JSON {
    [
      "tokenizer": .array(tokenizer.map(JSON.string)),
      "chat_template": chatTemplate.map(JSON.string) ?? .null,
      "named_templates": .array(namedTemplates.map(JSON.string)),
      "generation_config": generationConfiguration.map(JSON.string) ?? .null,
    ]
  }
}
