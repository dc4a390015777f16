import LMoECore

/// A `tokenizer.json` taken apart, as far as other formats ask.
struct TokenizerParts {
  /// A token that stands beside the vocabulary or marks one in it.
  struct Added {
    let number: Int
    let text: String
    let isSpecial: Bool
    /// Whether it takes white space along, or wants to be a word by itself.
    let hasFlags: Bool
  }

  /// Tokens of the vocabulary and their numbers.
  let vocabulary: [(text: String, number: Int)]
  /// Left and right of each merge, in order.
  let merges: [(left: String, right: String)]
  let added: [Added]
  let ignoresMerges: Bool
  let hasByteFallback: Bool
  /// The token for what is not known.
  let unknown: String?
  let normalizer: JSON
  let preTokenizer: JSON
  /// Tokens put before and after a text.
  let before: [Int]
  let after: [Int]

  /// Takes `bytes` apart.
  ///
  /// - Returns: nil if it is no tokenizer of the kind that this tool has (BPE).
  init?(_ bytes: [UInt8]) {
    guard let json = try? JSON(parsing: bytes), let model = json["model"],
      ["BPE", nil].contains(model["type"]?.string), let vocabulary = model["vocab"]?.object,
      let merges = model["merges"]?.array
    else { return nil }
    self.vocabulary = vocabulary.members.compactMap { text, number in number.int.map { (text, $0) } }
    self.merges = merges.compactMap { merge in
      if let pair = merge.array {
        guard pair.count == 2, let left = pair[0].string, let right = pair[1].string else { return nil }
        return (left, right)
      }
      let parts = (merge.string ?? "").utf8.split(separator: 0x20, omittingEmptySubsequences: false)
      guard parts.count == 2 else { return nil }
      return (String(decoding: parts[0], as: UTF8.self), String(decoding: parts[1], as: UTF8.self))
    }
    guard self.vocabulary.count == vocabulary.members.count, self.merges.count == merges.count else {
      return nil
    }
    added = (json["added_tokens"]?.array ?? []).compactMap { token in
      guard let number = token["id"]?.int, let text = token["content"]?.string else { return nil }
      let flags = ["lstrip", "rstrip", "single_word"]
      return Added(
        number: number, text: text, isSpecial: token["special"]?.bool ?? false,
        hasFlags: flags.contains { token[$0]?.bool ?? false })
    }
    ignoresMerges = model["ignore_merges"]?.bool ?? false
    hasByteFallback = model["byte_fallback"]?.bool ?? false
    unknown = model["unk_token"]?.string
    normalizer = json["normalizer"] ?? .null
    preTokenizer = json["pre_tokenizer"] ?? .null
    (before, after) = Self.affixes(json["post_processor"] ?? .null)
  }

  private static func affixes(_ json: JSON) -> (before: [Int], after: [Int]) {
    var result: (before: [Int], after: [Int]) = ([], [])
    switch json["type"]?.string {
    case "Sequence":
      for part in json["processors"]?.array ?? [] {
        let inner = affixes(part)
        result = (inner.before + result.before, result.after + inner.after)
      }
    case "TemplateProcessing":
      var isBefore = true
      for piece in json["single"]?.array ?? [] {
        if piece["Sequence"] != nil {
          isBefore = false
        } else if let name = piece["SpecialToken"]?["id"]?.string {
          let numbers = json["special_tokens"]?.object?[name]?["ids"]?.array?.compactMap(\.int) ?? []
          if isBefore { result.before += numbers } else { result.after += numbers }
        }
      }
    default: break
    }
    return result
  }

  /// The number of the token with that text, added ones first.
  func number(of text: String) -> Int? {
    added.first { $0.text.hasSameBytes(as: text) }?.number
      ?? vocabulary.first { $0.text.hasSameBytes(as: text) }?.number
  }
}
