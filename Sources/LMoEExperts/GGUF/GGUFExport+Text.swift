import LMoECore
import LMoEFormat

extension GGUFExport {
  /// The keys of the base's tokenizer, and its chat template.
  func tokenizer(count: Int) throws -> (keys: [(key: String, value: GGUFValue)], notes: [String]) {
    let bank = try bundle.bank("base")
    let files = try bundle.card(of: bank)?["text"].flatMap { TokenizerFiles(card: $0) }
    guard let bytes = try bundle.document("files/tokenizer.json", in: bank) else {
      let what = files?.tokenizer.joined(separator: ", ") ?? ""
      return (
        [("tokenizer.ggml.model", .string("none"))],
        [
          what.isEmpty
            ? "the base has no tokenizer, and neither has the file"
            : "the base's tokenizer is not a tokenizer.json (\(what)), and the file has none"
        ]
      )
    }
    guard let parts = TokenizerParts(bytes) else {
      throw ExpertError(
        .notExportable, path: bundle.path, name: "tokenizer.json",
        found: "it is none of the kind BPE; leave it out with --no-tokenizer")
    }
    let tokenizer = try GGUFTokenizer(parts, count: count, path: bundle.path)
    func json(_ name: String?) -> JSON? {
      guard let name, let bytes = try? bundle.document("files/" + name, in: bank) else { return nil }
      return try? JSON(parsing: bytes)
    }
    let settings = json("tokenizer_config.json")
    let special = GGUFSpecialTokens(
      parts, count: count, tokenizer: settings, model: json("config.json"),
      generation: json(files?.generationConfiguration))
    var keys = tokenizer.keys + special.keys
    if let template = chatTemplate(files?.chatTemplate, settings, bank, json) {
      keys.append(("tokenizer.chat_template", .string(template)))
    }
    return (keys, tokenizer.notes + special.notes)
  }

  private func chatTemplate(
    _ file: String?, _ settings: JSON?, _ bank: BankEntry, _ json: (String?) -> JSON?
  ) -> String? {
    switch file {
    case "tokenizer_config.json":
      let value = settings?["chat_template"]
      return value?.string
        ?? value?.array?.first { $0["name"]?.string == "default" }?["template"]?.string
    case "chat_template.json": return json(file)?["chat_template"]?.string
    case let file?:
      guard let bytes = try? bundle.document("files/" + file, in: bank) else { return nil }
      return String(validating: bytes, as: UTF8.self)
    case nil: return nil
    }
  }
}
