public import LMoECore
import LMoEExperts
public import LMoEFormat

extension ChatTemplate {
  /// Reads the chat template of a bundle's base, where its card says that it is.
  ///
  /// - Parameters:
  ///   - bundle: where to look.
  ///   - name: the template to take of several; nil for the default one.
  /// - Throws: `TemplateError`, with `no-template` for a base that came without one.
  public init(bundle: Bundle, named name: String? = nil) throws {
    let files = try TemplateFiles(bundle: bundle)
    guard let name else {
      guard let file = files.text?.chatTemplate else { throw TemplateError(.noTemplate, path: bundle.path) }
      try self.init(file: file, named: "default", files)
      return
    }
    guard let text = files.text, text.namedTemplates.contains(where: { $0.hasSameBytes(as: name) }) else {
      let names = files.text?.namedTemplates ?? []
      throw TemplateError(
        .noNamedTemplate, path: bundle.path, name: name,
        found: names.isEmpty ? "none with a name" : names.joined(separator: ", "))
    }
    let file = "additional_chat_templates/\(name).jinja"
    let isFile = try files.bytes(of: file) != nil
    try self.init(file: isFile ? file : "tokenizer_config.json", named: name, files)
  }

  private init(file: String, named name: String, _ files: TemplateFiles) throws {
    let path = "\(files.bundle.path): \(file)"
    guard let bytes = try files.bytes(of: file) else {
      throw TemplateError(.invalidDocument, path: path, found: "the file is missing; import the base again")
    }
    guard !file.utf8.reversed().starts(with: ".json".utf8.reversed()) else {
      let templates = try files.json(of: file)["chat_template"]
      let entry = templates?.array?.first { $0["name"]?.string?.hasSameBytes(as: name) == true }
      guard let source = templates?.string ?? entry?["template"]?.string else {
        throw TemplateError(
          .invalidDocument, path: path, found: "the key chat_template holds no template named \(name)")
      }
      try self.init(source: source, path: path)
      return
    }
    guard let source = String(validating: bytes, as: UTF8.self) else {
      throw TemplateError(.invalidDocument, path: path, found: "it is not valid UTF-8")
    }
    try self.init(source: source, path: path)
  }

  /// The special tokens of a bundle's base, such as `bos_token`, as variables for templates.
  ///
  /// - Throws: `FormatError` or `TemplateError`, where a file cannot be read.
  public static func specialTokens(of bundle: Bundle) throws -> [(String, JSON)] {
    let files = try TemplateFiles(bundle: bundle)
    var tokens = JSONObject()
    for file in ["special_tokens_map.json", "tokenizer_config.json"] {
      for (key, value) in try files.json(of: file).object?.members ?? []
      where key.utf8.reversed().starts(with: "_token".utf8.reversed()) {
        if let text = value.string ?? value["content"]?.string { tokens[key] = .string(text) }
      }
    }
    return tokens.members.map { ($0.key, $0.value) }
  }
}

/// The documents of a base that have to do with text.
private struct TemplateFiles {
  let bundle: Bundle
  let bank: BankEntry
  let text: TokenizerFiles?

  init(bundle: Bundle) throws {
    guard let bank = bundle.root.bank("base") else { throw ExpertError(.noBase, path: bundle.path) }
    self.bundle = bundle
    self.bank = bank
    text = try bundle.card(of: bank)?["text"].flatMap { TokenizerFiles(card: $0) }
  }

  func bytes(of file: String) throws -> [UInt8]? { try bundle.document("files/" + file, in: bank) }

  /// A document, null if it is not there.
  func json(of file: String) throws -> JSON {
    guard let bytes = try bytes(of: file) else { return .null }
    do throws(JSONError) {
      return try JSON(parsing: bytes)
    } catch {
      throw TemplateError(.invalidDocument, path: "\(bundle.path): \(file)", found: error.description)
    }
  }
}
