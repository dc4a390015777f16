import LMoECore
public import LMoEFormat

/// What an expert has to fit: the model of a base, where its weights are, and who it is.
public struct BaseDescription: Sendable {
  /// Where the weights are.
  public let names: TensorNames
  /// The name of the directory it was imported from.
  public let name: String?
  /// The content id of the unquantized original, in hexadecimal; nil where it is not known yet.
  public let sourceID: String?
  /// Types and content hashes by names in the file; empty where nothing was hashed yet.
  let entries: [ByteKey: (type: TensorType, hash: Bits128)]
  /// ‖W‖_F of the matrices by names in the file.
  let norms: [ByteKey: Double]

  /// The model.
  public var model: ModelConfiguration { names.model }
}

extension CheckpointModel {
  /// The base that experts have to fit, before it is written anywhere.
  public var base: BaseDescription {
    BaseDescription(names: names, name: nil, sourceID: nil, entries: [:], norms: [:])
  }
}

extension Bundle {
  /// What an expert has to fit in this bundle.
  ///
  /// - Throws: `ExpertError` with `no-base`, or if the base is of a model this tool does not know;
  ///   `FormatError`.
  public func baseDescription() throws -> BaseDescription {
    guard let bank = root.bank("base") else { throw ExpertError(.noBase, path: path) }
    return try BaseDescription(
      card: try card(of: bank) ?? .null, manifest: try manifest(of: bank), path: path
    ) { try document("files/config.json", in: bank) }
  }
}

extension BaseDescription {
  /// Reads the card of a base; one written by another tool may have only the checkpoint's configuration.
  init(card: JSON, manifest: Manifest, path: String, configuration: () throws -> [UInt8]?) throws {
    var model = card["model"].flatMap(ModelConfiguration.init(card:))
    if model == nil, let bytes = try configuration() {
      let json: JSON
      do throws(JSONError) { json = try JSON(parsing: bytes) } catch {
        throw ExpertError(.invalidConfiguration, path: path + ": config.json", found: error.description)
      }
      model = try ModelConfiguration.parse(json, path: path + ": config.json").model
    }
    guard let model else {
      throw ExpertError(
        .invalidConfiguration, path: path, found: "the base has neither a model card nor config.json")
    }
    names = try TensorNames(model, tensors: manifest.tensors.map { ($0.name, $0.type.shape) }, path: path)
    name = card["provenance"]?["imported_from"]?.string
    sourceID = card["source_id"]?.string
    entries = Dictionary(
      manifest.tensors.map { (ByteKey($0.name), ($0.type, $0.contentHash)) },
      uniquingKeysWith: { first, _ in first })
    norms = Dictionary(
      (card["norms"]?.object?.members ?? []).compactMap { key, value in
        value.double.map { (ByteKey(key), $0) }
      },
      uniquingKeysWith: { first, _ in first })
  }
}
