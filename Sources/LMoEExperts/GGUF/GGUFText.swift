import LMoECore
import LMoEFormat

/// The tokenizer's files of a checkpoint, rebuilt from a GGUF file, so that they make the tokens that llama.cpp
/// makes.
struct GGUFText {
  /// Each by its name in a checkpoint.
  private(set) var files: [(name: String, bytes: [UInt8])] = []
  private(set) var notes: [String] = []

  private static let mark = "\u{2581}"
  private static let prefix = "tokenizer.ggml."

  private let file: GGUFFile
  private let texts: [String]
  private let types: [GGUFTokenizer.TokenType]

  /// Reads the keys of `file`; what cannot be rebuilt is said in the notes.
  init(_ file: GGUFFile, count: Int) {
    self.file = file
    texts = file.value(Self.prefix + "tokens")?.strings ?? []
    let codes = file.value(Self.prefix + "token_type")?.elements
    types = texts.indices.map { index in
      guard let codes, codes.indices.contains(index), let code = codes[index].integer else { return .normal }
      return GGUFTokenizer.TokenType(rawValue: Int32(clamping: code)) ?? .unused
    }
    if let template = file.value("tokenizer.chat_template")?.string {
      files.append(("chat_template.jinja", Array(template.utf8)))
    }
    addGeneration()
    let model = file.value(Self.prefix + "model")?.string ?? "none"
    guard !["none", "no_vocab"].contains(model) else {
      notes.append("it has no tokenizer: commands that need text will refuse this bundle")
      return
    }
    do throws(Missing) {
      guard texts.count <= count else { throw Missing(why: "it has \(texts.count) tokens for \(count) rows") }
      guard Set(texts.map { ByteKey($0) }).count == texts.count else {
        throw Missing(why: "two tokens have the same text")
      }
      let json: JSON
      switch model {
      case "gpt2": json = try byteLevel()
      case "llama": json = try sentencePiece()
      default: throw Missing(why: "it is of the kind \"\(model.shortened)\"")
      }
      files.append(("tokenizer.json", Array(json.serialized().utf8)))
      addSettings()
    } catch {
      notes.append(
        "its tokenizer is left out, for \(error.why); commands that need text will refuse this bundle")
    }
  }

  /// Why there is no tokenizer.
  struct Missing: Error {
    let why: String
  }

  private func number(_ role: String) -> Int? {
    file.value(Self.prefix + role)?.integer.flatMap { texts.indices.contains($0) ? $0 : nil }
  }

  private func flag(_ key: String, _ fallback: Bool) -> Bool {
    file.value(Self.prefix + key)?.bool ?? fallback
  }

  /// Byte-level BPE.
  private func byteLevel() throws(Missing) -> JSON {
    let name = file.value(Self.prefix + "pre")?.string ?? "default"
    guard let kind = GGUFPreTokenizer.named(name) else {
      throw Missing(
        why: "it splits text in a way called \"\(name.shortened)\", which this tool does not know")
    }
    guard let lines = file.value(Self.prefix + "merges")?.strings else {
      throw Missing(why: "it has no merges")
    }
    var merges: [JSON] = []
    let known = Set(texts.map { ByteKey($0) })
    for line in lines {
      // The first character may be a space itself.
      guard let space = line.utf8.dropFirst().firstIndex(of: 0x20) else {
        throw Missing(why: "\"\(line.shortened)\" is no merge")
      }
      let left = String(decoding: line.utf8[..<space], as: UTF8.self)
      let right = String(decoding: line.utf8[space...].dropFirst(), as: UTF8.self)
      // llama.cpp passes over what makes no token.
      guard [left, right, left + right].allSatisfy({ known.contains(ByteKey($0)) }) else { continue }
      merges.append([.string(left), .string(right)])
    }
    return document(
      normalizer: .null, preTokenizer: kind.json,
      decoder: [
        "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
      ],
      model: [
        ("unk_token", .null), ("fuse_unk", false), ("byte_fallback", false),
        ("ignore_merges", .bool(kind.ignoresMerges)), ("merges", .array(merges)),
      ], addsStart: flag("add_bos_token", kind.addsStart))
  }

  /// Sentencepiece's BPE.
  private func sentencePiece() throws(Missing) -> JSON {
    let scores = file.value(Self.prefix + "scores")?.elements?.compactMap(\.number) ?? []
    guard scores.count == texts.count else { throw Missing(why: "it has no scores for all tokens") }
    let unknown = number("unknown_token_id") ?? types.firstIndex(of: .unknown)
    let addsSpace = flag("add_space_prefix", true)
    var steps: [JSON] = addsSpace ? [["type": "Prepend", "prepend": .string(Self.mark)]] : []
    steps.append(["type": "Replace", "pattern": ["String": " "], "content": .string(Self.mark)])
    var decoders: [JSON] = [
      ["type": "Replace", "pattern": ["String": .string(Self.mark)], "content": " "],
      ["type": "ByteFallback"], ["type": "Fuse"],
    ]
    if addsSpace { decoders.append(["type": "Strip", "content": " ", "start": 1, "stop": 0]) }
    let merges = try GGUFMerges.merges(texts, types, scores: scores)
    return document(
      normalizer: ["type": "Sequence", "normalizers": .array(steps)], preTokenizer: .null,
      decoder: ["type": "Sequence", "decoders": .array(decoders)],
      model: [
        ("unk_token", unknown.map { .string(texts[$0]) } ?? .null), ("fuse_unk", true),
        ("byte_fallback", true), ("ignore_merges", false),
        ("merges", .array(merges.map { [.string($0.left), .string($0.right)] })),
      ], addsStart: flag("add_bos_token", true))
  }

  private func document(
    normalizer: JSON, preTokenizer: JSON, decoder: JSON, model: [(String, JSON)], addsStart: Bool
  ) -> JSON {
    var added: [JSON] = []
    var vocabulary = JSONObject()
    for (number, text) in texts.enumerated() {
      let type = types[number]
      if type == .control || type == .userDefined || type == .unknown {
        added.append([
          "id": .integer(number), "content": .string(text), "single_word": false, "lstrip": false,
          "rstrip": false, "normalized": false, "special": .bool(type != .userDefined),
        ])
      }
      if type != .unused { vocabulary[text] = .integer(number) }
    }
    let head: [(String, JSON)] = [
      ("type", "BPE"), ("dropout", .null), ("continuing_subword_prefix", .null),
      ("end_of_word_suffix", .null), ("vocab", .object(vocabulary)),
    ]
    return [
      "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(added),
      "normalizer": normalizer, "pre_tokenizer": preTokenizer, "post_processor": affixes(addsStart),
      "decoder": decoder, "model": .object(head + model),
    ]
  }

  /// What is put before and after a text.
  private func affixes(_ addsStart: Bool) -> JSON {
    let start = addsStart ? number("bos_token_id") : nil
    let end = flag("add_eos_token", false) ? number("eos_token_id") : nil
    func piece(_ number: Int) -> JSON { ["SpecialToken": ["id": .string(texts[number]), "type_id": 0]] }
    let text: JSON = ["Sequence": ["id": "A", "type_id": 0]]
    let single = [start.map(piece), text, end.map(piece)].compactMap(\.self)
    return [
      "type": "TemplateProcessing", "single": .array(single),
      "pair": .array(single + [["Sequence": ["id": "B", "type_id": 1]]]),
      "special_tokens": .object(
        [start, end].compactMap(\.self).map { number in
          (
            texts[number],
            ["id": .string(texts[number]), "ids": [.integer(number)], "tokens": [.string(texts[number])]]
          )
        }),
    ]
  }

  private mutating func addSettings() {
    var object: [(String, JSON)] = []
    for (key, role) in [
      ("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("unk_token", "unknown_token_id"),
      ("pad_token", "padding_token_id"),
    ] {
      if let number = number(role) { object.append((key, .string(texts[number]))) }
    }
    object.append(("tokenizer_class", "PreTrainedTokenizerFast"))
    files.append(("tokenizer_config.json", Array(JSON.object(object).serialized(pretty: true).utf8)))
  }

  /// The tokens at which a text begins and ends.
  private mutating func addGeneration() {
    let ends = ["eos_token_id", "eot_token_id", "eom_token_id"].compactMap(number)
    var object: [(String, JSON)] = []
    if let start = number("bos_token_id") { object.append(("bos_token_id", .integer(start))) }
    if !ends.isEmpty {
      object.append(
        ("eos_token_id", ends.count == 1 ? .integer(ends[0]) : .array(ends.map { .integer($0) })))
    }
    if object.isEmpty { return }
    files.append(("generation_config.json", Array(JSON.object(object).serialized(pretty: true).utf8)))
  }
}
