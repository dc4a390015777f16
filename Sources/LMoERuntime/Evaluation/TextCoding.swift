import LMoECore

/// How documents become tokens.
public struct TextCoding: Sendable {
  private let tokenizer: Tokenizer
  private let between: Int?
  private let end: Int?

  /// Makes a coding.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's; it adds the special tokens that it always adds, but to rendered
  ///     conversations.
  ///   - between: A token to put before and after each document.
  ///   - end: Where there is no such token, one to end each document with, unless the tokenizer or a chat
  ///     template ends it already.
  public init(_ tokenizer: Tokenizer, between: Int? = nil, end: Int? = nil) {
    (self.tokenizer, self.between, self.end) = (tokenizer, between, end)
  }

  /// Turns a document into tokens.
  public func sample(_ document: TextDocument) -> Evaluation.Sample {
    var (tokens, isTarget) = body(document)
    let special = document.isTemplated ? nil : tokenizer.postProcessor
    if document.isBeginning {
      let before = (between.map { [$0] } ?? []) + (special?.before ?? [])
      let isTargeted = document.startsAsTarget
      tokens = before + tokens
      isTarget = [Bool](repeating: isTargeted, count: before.count) + isTarget
    }
    if document.isEnd {
      var after = special?.after ?? []
      if let between {
        after.append(between)
      } else if let end, !document.isTemplated, (tokens + after).last != end {
        after.append(end)
      }
      let isTargeted = document.endsAsTarget && !document.isTemplated
      tokens += after
      isTarget += [Bool](repeating: isTargeted, count: after.count)
    }
    return Evaluation.Sample(tokens: tokens, isTarget: isTarget, bytes: document.targetBytes)
  }

  /// The tokens of the text alone.
  private func body(_ document: TextDocument) -> (tokens: [Int], isTarget: [Bool]) {
    let text = document.text
    let tokens = tokenizer.encode(utf8: text, addingSpecialTokens: false)
    var isTarget: [Bool] = []
    var offset = 0
    for (index, part) in document.parts.enumerated() {
      offset += part.text.count
      let start = isTarget.count
      var end = tokens.count
      if index + 1 < document.parts.count {
        end = max(start, seam(tokens, text[..<offset], isTarget: part.isTarget))
      }
      // White space after the token that ends an answer is the template's; the model is not heard any more.
      var last = end
      if document.isTemplated, part.isTarget {
        var ending = end
        while ending > start, tokenizer.bytes(of: tokens[ending - 1]).allSatisfy(Self.isSpace) { ending -= 1 }
        if ending > start, tokenizer.isSpecial(tokens[ending - 1]) { last = ending }
      }
      for position in start..<end { isTarget.append(part.isTarget && position < last) }
    }
    return (tokens, isTarget)
  }

  /// The token at which a part ends.
  ///
  /// A token across the seam is a target: it is of a target in part.
  private func seam(_ tokens: [Int], _ prefix: ArraySlice<UInt8>, isTarget: Bool) -> Int {
    let alone = tokenizer.encode(utf8: Array(prefix), addingSpecialTokens: false)
    var end = zip(alone, tokens).prefix { $0 == $1 }.count
    guard isTarget else { return end }
    var rest = alone[end...].reduce(0) { $0 + tokenizer.bytes(of: $1).count }
    while rest > 0, end < tokens.count {
      rest -= tokenizer.bytes(of: tokens[end]).count
      end += 1
    }
    return end
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
