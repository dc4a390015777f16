import LMoECore
import LMoEExperts
public import LMoEFormat

extension Tokenizer {
  /// Reads the tokenizer of a bundle's base.
  ///
  /// - Throws: `TokenizerError`, with `no-tokenizer` for a base that came without `tokenizer.json`.
  public convenience init(bundle: Bundle) throws {
    guard let bank = bundle.root.bank("base") else {
      throw ExpertError(.noBase, path: bundle.path)
    }
    guard let bytes = try bundle.document("files/tokenizer.json", in: bank) else {
      let card = try bundle.card(of: bank)
      let others = card?["text"].flatMap { TokenizerFiles(card: $0) }?.tokenizer ?? []
      throw TokenizerError(
        .noTokenizer, path: bundle.path, found: others.isEmpty ? nil : others.joined(separator: ", "))
    }
    try self.init(json: bytes, path: "\(bundle.path): tokenizer.json")
  }
}
