import LMoECore

/// A tokenizer in the form of Hugging Face's `tokenizer.json`: text to tokens and back, token for token as the
/// library of that name has it.
///
/// It can be used from many threads at once.
public final class Tokenizer: Sendable {
  let normalizer: Normalizer
  let preTokenizer: PreTokenizer
  let model: BytePairModel
  let addedTokens: AddedTokens
  let postProcessor: PostProcessor
  let decoder: TokenDecoder

  /// How many tokens there are, added ones included.
  public let tokenCount: Int
  /// One more than the largest number a token has.
  public let numberLimit: Int

  /// Reads a `tokenizer.json`.
  ///
  /// Truncation and padding, which it may ask for, are left out: they are not for text that is generated.
  ///
  /// - Parameters:
  ///   - bytes: The file.
  ///   - path: What errors call it.
  /// - Throws: `TokenizerError`, also for what this tool does not know: it never guesses tokens.
  public init(json bytes: [UInt8], path: String) throws(TokenizerError) {
    let document = try TokenizerDocument(bytes, path: path)
    let known = [
      "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
      "decoder", "model",
    ]
    for (key, _) in document.sections.members where !known.contains(where: { $0.hasSameBytes(as: key) }) {
      throw TokenizerError(.unsupportedComponent, path: path, place: "the tokenizer", name: key)
    }
    guard document.sections["model"]?.object != nil else {
      throw TokenizerError(.missingField, path: path, place: "the tokenizer", name: "model")
    }
    normalizer = try Normalizer(document.sections["normalizer"], path: path)
    preTokenizer = try PreTokenizer(document.sections["pre_tokenizer"], path: path)
    decoder = try TokenDecoder(document.sections["decoder"], path: path)
    postProcessor = try PostProcessor(document.sections["post_processor"], path: path)
    model = try BytePairModel(document, isByteLevel: preTokenizer.isByteLevel, path: path)
    addedTokens = try AddedTokens(
      document.sections["added_tokens"], vocabulary: model.vocabulary, normalizer: normalizer, path: path)
    tokenCount = model.vocabulary.count + addedTokens.extraCount
    numberLimit = max(model.vocabulary.numberLimit, (addedTokens.byNumber.keys.max() ?? -1) + 1)
    for number in postProcessor.before + postProcessor.after where token(number) == nil {
      throw TokenizerError(.unknownToken, path: path, place: "post_processor", name: "\(number)")
    }
  }

  /// The bytes of the token with a number, as the vocabulary writes it; nil if there is none.
  public func token(_ number: Int) -> [UInt8]? {
    if let added = addedTokens.byNumber[number] { return added.text }
    return model.vocabulary.token(number).map(Array.init)
  }

  /// The bytes that a token stands for in text, wherever it stands; none if there is no such token.
  ///
  /// They need not be whole characters.
  public func bytes(of number: Int) -> [UInt8] {
    guard var bytes = token(number) else { return [] }
    for step in decoder.steps {
      switch step {
      case .byteLevel: bytes = ByteAlphabet.decoded(bytes)
      case .byteFallback: bytes = DecoderStage.byte(bytes).map { [$0] } ?? bytes
      case .replace(let old, let new): bytes = bytes.replacing(old, with: new)
      case .metaspace(let mark, _): bytes = bytes.replacing(mark, with: [0x20])
      case .spaced, .fuse, .strip: break
      }
    }
    return bytes
  }

  /// The number of a token, given as the vocabulary writes it; nil if there is none.
  public func number(of token: String) -> Int? {
    let bytes = Array(token.utf8)
    return addedTokens.numbers[bytes] ?? model.vocabulary.number(of: bytes)
  }

  /// Whether decoding may leave out the token with this number.
  public func isSpecial(_ number: Int) -> Bool { token(number).map(addedTokens.isSpecial) ?? false }

  /// What the decoder gets for a token; nil if there is none, or none is wanted.
  func decodedText(_ number: Int, skippingSpecialTokens: Bool) -> [UInt8]? {
    guard let text = token(number) else { return nil }
    return skippingSpecialTokens && addedTokens.isSpecial(text) ? nil : text
  }
}
