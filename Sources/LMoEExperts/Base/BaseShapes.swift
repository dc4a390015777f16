import LMoECore
public import LMoEFormat

/// What an expert of another bundle has to fit: the shapes of a base's tensors, and who the base is.
///
/// It asks for no particular model: an expert that fits by names and shapes fits.
public struct BaseShapes: Sendable {
  private let manifest: Manifest
  /// The content id of the unquantized original, in hexadecimal; nil where nobody knows it.
  public let sourceID: String?
  /// The name of what it was imported from.
  public let name: String?

  /// Reads manifest and card of the base in `bundle`.
  ///
  /// - Throws: `ExpertError` with `no-base`, `FormatError`.
  public init(_ bundle: Bundle) throws {
    guard let bank = bundle.root.bank("base") else { throw ExpertError(.noBase, path: bundle.path) }
    manifest = try bundle.manifest(of: bank)
    let card = try bundle.card(of: bank)
    sourceID = card?["source_id"]?.string
    name = card?["provenance"]?["imported_from"]?.string
  }

  /// The shape of a tensor, by the name that transformers' causal language models have for it; nil if there is
  /// none.
  ///
  /// A checkpoint of the bare decoder lacks the leading `model.`; a tied head has the shape of the embedding.
  public func shape(_ name: String) -> [Int]? {
    if let tensor = manifest.tensor(name) { return tensor.type.shape }
    let prefix = "model."
    if name.utf8.starts(with: prefix.utf8),
      let tensor = manifest.tensor(String(decoding: name.utf8.dropFirst(prefix.utf8.count), as: UTF8.self))
    {
      return tensor.type.shape
    }
    return name == "lm_head.weight" ? shape("model.embed_tokens.weight") : nil
  }
}
