import LMoECore
import LMoEFormat

extension BundleReport {
  /// The documented JSON (spec/inspect.md).
  var json: JSON {
    var baseObject: JSON = .null
    if let (bank, card) = base {
      baseObject = [
        "name": card?["provenance"]?["imported_from"] ?? .null,
        "architecture": card?["architecture"] ?? .null, "parameters": card?["parameters"] ?? .null,
        "model": card?["model"] ?? .null, "text": card?["text"] ?? .null,
        "content_id": .string(bank.contentID.description), "source_id": card?["source_id"] ?? .null,
        "dtypes": card?["dtypes"] ?? .null, "stored_bytes": .integer(bank.storedBytes),
        "raw_bytes": .integer(bank.logicalBytes), "external": .bool(bank.isExternal),
      ]
    }
    var object: [(String, JSON)] = [
      ("schema", 1), ("format", "lmoe"), ("generation", .integer(bundle.generation)),
      ("file_bytes", .integer(bundle.fileBytes)), ("live_bytes", .integer(liveBytes)),
      ("runs_from_map", .bool(runsFromMap)), ("base", baseObject),
      ("experts", .array(experts.map { details.contains(.experts) ? $0.fullJSON : $0.json })),
      ("gates", .array(gates.map { details.contains(.gates) ? $0.fullJSON : $0.json })),
    ]
    if details.contains(.provenance) { object.append(("provenance", .array(provenance.map(\.json)))) }
    if details.contains(.tensors) { object.append(("tensors", .array(tensors.map(\.json)))) }
    if details.contains(.history) { object.append(("history", History.json(history))) }
    return .object(object)
  }
}

extension ExpertFacts {
  /// With the whole card.
  fileprivate var fullJSON: JSON {
    var object = json.object ?? JSONObject()
    object["card"] = card ?? .null
    return .object(object)
  }
}
