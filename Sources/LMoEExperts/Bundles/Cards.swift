import LMoECore
import LMoEFormat

/// Makes the JSON cards that say what a bank means (registry §5).
enum Cards {
  static let schema: JSON = 1

  /// What the card of a base says of where it comes from.
  struct BaseFacts {
    let architecture: String?
    let modelType: String?
    /// Types of all tensors.
    let types: [TensorType]
    let files: [(name: String, tensors: Int)]
    let leftOut: [String]
    let path: String
    /// What it is quantized to, and by what, if it came in so.
    var quantized: (type: String, by: String)?
  }

  /// The card of a base.
  ///
  /// What a base that came in quantized was made of is known only if its file says so: `sourceID` is nil then.
  static func base(
    _ facts: BaseFacts, _ model: ModelConfiguration, _ text: TokenizerFiles, sourceID: Bits128?,
    norms: [(name: String, norm: Double)], ignoredKeys: [String], clock: UInt64
  ) -> JSON {
    let members: JSON = [
      "card": schema,
      "kind": "base",
      "architecture": facts.architecture.map(JSON.string) ?? .null,
      "model_type": facts.modelType.map(JSON.string) ?? .null,
      "model": model.json,
      "text": text.json,
      "parameters": .integer(facts.types.reduce(0) { $0 + $1.elementCount }),
      "dtypes": facts.types.dtypeCounts,
      "norms": .object(norms.map { ($0.name, rounded($0.norm)) }),
      "ignored_keys": .array(ignoredKeys.map(JSON.string)),
      "source_id": sourceID.map { .string($0.description) } ?? .null,
      "files": .array(facts.files.map { ["name": .string($0.name), "tensors": .integer($0.tensors)] }),
      "left_out": .array(facts.leftOut.map(JSON.string)),
      "provenance": provenance(facts.path, clock: clock),
    ]
    guard let quantized = facts.quantized, var card = members.object else { return members }
    card["quantized"] = [
      "type": .string(quantized.type), "imported": .string(quantized.by), "kept": [],
      "made_ns": .integer(clock), "tool": .string(toolName),
    ]
    return .object(card)
  }

  /// The card of an expert.
  static func expert(
    _ expert: LoRAExpert, _ measurement: ExpertMeasurement, base: BaseDescription, clock: UInt64
  ) -> JSON {
    let adapter = expert.adapter
    var card: [(String, JSON)] = [
      ("card", schema),
      ("kind", "expert"),
      ("type", "lora"),
      ("modules", .array(ModuleGroup.groups(of: expert.modules, norms: measurement.norms).map(\.json))),
      ("prefix", .string(PEFTTensorName.prefix)),
    ]
    if !expert.replacements.isEmpty {
      card.append(
        (
          "replaces",
          .array(
            expert.replacements.map {
              ["tensor": .string($0.tensor), "with": .string($0.with), "same": .bool($0.isSame)]
            })
        ))
    }
    if !expert.tokens.isEmpty {
      card.append(
        (
          "tokens",
          .array(
            expert.tokens.map {
              [
                "module": .string($0.module), "indices": .array($0.indices.map { .integer($0) }),
                "with": .string($0.with), "tied": .bool($0.isTied),
              ]
            })
        ))
    }
    if !expert.layerReplication.isEmpty {
      card.append(
        (
          "layer_replication",
          .array(expert.layerReplication.map { [.integer($0.lowerBound), .integer($0.upperBound)] })
        ))
      card.append(("windows", .array(expert.stackedWindows.map { $0.map { .integer($0) } ?? .null })))
    }
    card += [
      ("norm", measurement.norm(of: expert).map(rounded) ?? .null),
      ("share", measurement.share(of: expert, base: base).map(rounded) ?? .null),
      ("parameters", .integer(adapter.parameters)),
      ("dtypes", adapter.file.tensors.map(\.type).dtypeCounts),
      (
        "base",
        [
          "name": adapter.baseName.map(JSON.string) ?? .null,
          "source_id": base.sourceID.map(JSON.string) ?? .null, "match": "asserted",
        ]
      ),
      ("files", [["name": "adapter_model.safetensors", "tensors": .integer(adapter.file.tensors.count)]]),
      ("left_out", .array(adapter.leftOut.map(JSON.string))),
      ("provenance", provenance(adapter.path, clock: clock)),
    ]
    return .object(card)
  }

  /// Seven digits: a norm is for people.
  static func rounded(_ value: Double) -> JSON {
    let short = Float(value)
    return short.isFinite ? .number(JSONNumber(text: "\(short)")) : .double(value)
  }

  private static func provenance(_ path: String, clock: UInt64) -> JSON {
    return [
      "imported_from": .string(originName(path)), "imported_ns": .integer(clock), "tool": .string(toolName),
    ]
  }
}

/// What a directory is called: its last component, or the model's name in a Hugging Face cache
/// (`models--org--name/snapshots/<commit>`).
func originName(_ path: String) -> String {
  let parts = path.split(separator: "/")
  let cache = "models--"
  if parts.count >= 3, parts[parts.count - 2] == "snapshots", parts[parts.count - 3].hasPrefix(cache) {
    return String(parts[parts.count - 3].dropFirst(cache.count)).replacingDoubleHyphen
  }
  return parts.last.map(String.init) ?? path
}

extension String {
  /// `org--name` as `org/name`.
  fileprivate var replacingDoubleHyphen: String {
    let bytes = Array(utf8)
    let hyphen = UInt8(ascii: "-")
    guard
      let place = bytes.indices.dropLast().first(where: { bytes[$0] == hyphen && bytes[$0 + 1] == hyphen })
    else { return self }
    return String(decoding: bytes[..<place], as: UTF8.self) + "/"
      + String(decoding: bytes[(place + 2)...], as: UTF8.self)
  }
}

/// The name and version that files made by this tool carry.
public let toolName = "lmoe-tool 0.1"
