extension Evaluation {
  /// A document as tokens.
  public struct Sample: Hashable, Sendable {
    /// The tokens.
    public let tokens: [Int]
    /// Which of them are scored or learned; the very first one never is, for nothing comes before it.
    public let isTarget: [Bool]
    /// Bytes of what is scored.
    public let bytes: Int

    init(tokens: [Int], isTarget: [Bool], bytes: Int) {
      self.tokens = tokens
      var isTarget = isTarget
      if !isTarget.isEmpty { isTarget[0] = false }
      self.isTarget = isTarget
      self.bytes = bytes
    }

    /// The first token that is scored; the number of tokens where none is.
    public var start: Int { isTarget.firstIndex(of: true) ?? tokens.count }

    /// Parts of at most `context` tokens, each from its own beginning, so that its first token is no target.
    ///
    /// Each ends with its last target; a part without any is none.
    func parts(context: Int) -> [(tokens: [Int], isTarget: [Bool])] {
      var parts: [(tokens: [Int], isTarget: [Bool])] = []
      for first in stride(from: 0, to: tokens.count, by: context) {
        var isTarget = isTarget[first..<min(first + context, tokens.count)]
        isTarget[first] = false
        guard let last = isTarget.lastIndex(of: true) else { continue }
        parts.append((Array(tokens[first...last]), Array(isTarget[...last])))
      }
      return parts
    }
  }

  /// Turns a document into tokens.
  ///
  /// - Parameters:
  ///   - document: The document.
  ///   - tokenizer: The model's; it adds the special tokens that it always adds.
  ///   - boundary: A token to put before and after it.
  public static func sample(_ document: TextDocument, _ tokenizer: Tokenizer, boundary: Int?) -> Sample {
    TextCoding(tokenizer, between: boundary).sample(document)
  }
}
