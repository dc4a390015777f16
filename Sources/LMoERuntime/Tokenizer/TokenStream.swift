/// Turns tokens into text one by one, as they are generated.
///
/// What a later token may still change is held back: characters whose bytes are not all there, runs of byte
/// tokens, spaces that may be stripped. All texts together are what `Tokenizer.decode` gives for all tokens.
public struct TokenStream: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  private var stages: [DecoderStage]

  /// Makes a stream at the beginning of a text.
  ///
  /// - Parameters:
  ///   - tokenizer: Whose tokens they are.
  ///   - skippingSpecialTokens: Whether special tokens give no text.
  public init(_ tokenizer: Tokenizer, skippingSpecialTokens: Bool) {
    self.tokenizer = tokenizer
    skipsSpecialTokens = skippingSpecialTokens
    stages = tokenizer.decoder.steps.map { DecoderStage($0) }
    var isFused = false
    for index in stages.indices {
      stages[index].isFused = isFused
      isFused = isFused || stages[index].joinsTokens
    }
  }

  /// The text that is certain once the token with this number is there; none for a number without a token.
  public mutating func append(_ number: Int) -> String {
    var output: [UInt8] = []
    append(number, to: &output)
    return String(decoding: output, as: UTF8.self)
  }

  /// What was held back, at the end of the text.
  ///
  /// The stream is of no use after that.
  public mutating func finish() -> String {
    var output: [UInt8] = []
    finish(to: &output)
    return String(decoding: output, as: UTF8.self)
  }

  mutating func append(_ number: Int, to output: inout [UInt8]) {
    guard let text = tokenizer.decodedText(number, skippingSpecialTokens: skipsSpecialTokens) else { return }
    push([text], from: 0, to: &output)
  }

  mutating func finish(to output: inout [UInt8]) {
    for index in stages.indices {
      var texts: [[UInt8]] = []
      stages[index].finish { texts.append($0) }
      push(texts, from: index + 1, to: &output)
    }
  }

  private mutating func push(_ texts: [[UInt8]], from start: Int, to output: inout [UInt8]) {
    var texts = texts
    for index in start..<max(start, stages.count) {
      if texts.isEmpty { return }
      var results: [[UInt8]] = []
      for text in texts { stages[index].push(text) { results.append($0) } }
      texts = results
    }
    for text in texts { output += text }
  }
}
