extension Tokenizer {
  /// The tokens of a text.
  ///
  /// Texts of special tokens become these wherever they stand.
  ///
  /// - Parameters:
  ///   - text: Any text.
  ///   - addingSpecialTokens: Whether the tokens that begin and end a text are added, as far as the tokenizer
  ///     has such.
  public func encode(_ text: String, addingSpecialTokens: Bool) -> [Int] {
    encode(utf8: Array(text.utf8), addingSpecialTokens: addingSpecialTokens)
  }

  /// The tokens of a text given as UTF-8; what is not UTF-8 becomes U+FFFD.
  public func encode(utf8 text: [UInt8], addingSpecialTokens: Bool) -> [Int] {
    let isValid = (try? UTF8Span(validating: text.span)) != nil
    let text = isValid ? text : Array(String(decoding: text, as: UTF8.self).utf8)
    var encoder = WordEncoder(model, bytes: text.count)
    for part in addedTokens.parts(of: text, isNormalized: false) {
      switch part {
      case .token(let number): encoder.append(number)
      case .text(let range):
        let piece = range.count == text.count ? text : Array(text[range])
        encode(piece, isFirst: range.lowerBound == 0, with: &encoder)
      }
    }
    let numbers = encoder.tokens.map { Int($0) }
    return addingSpecialTokens ? postProcessor.before + numbers + postProcessor.after : numbers
  }

  private func encode(_ piece: [UInt8], isFirst: Bool, with encoder: inout WordEncoder) {
    let text = normalizer.normalized(piece)
    for part in addedTokens.parts(of: text, isNormalized: true) {
      switch part {
      case .token(let number): encoder.append(number)
      case .text(let range):
        let whole = range.count == text.count ? text : Array(text[range])
        let words = preTokenizer.words(of: whole, isFirst: isFirst && range.lowerBound == 0)
        for word in words.ranges { encoder.encode(words.text, word) }
      }
    }
  }

  /// The text of tokens; numbers without a token give none.
  ///
  /// - Parameters:
  ///   - numbers: The tokens.
  ///   - skippingSpecialTokens: Whether special tokens are left out.
  public func decode(_ numbers: [Int], skippingSpecialTokens: Bool) -> String {
    var stream = TokenStream(self, skippingSpecialTokens: skippingSpecialTokens)
    var output: [UInt8] = []
    for number in numbers { stream.append(number, to: &output) }
    stream.finish(to: &output)
    return String(decoding: output, as: UTF8.self)
  }
}
