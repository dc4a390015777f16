import LMoECore
import LMoEFormat

/// Makes the JSON cards that say what a bank means (registry §5).
enum Cards {
  static let schema: JSON = 1

  /// The card of a base.
  static func base(_ checkpoint: HFCheckpoint, sourceID: Bits128, clock: UInt64) -> JSON {
    [
      "card": schema,
      "kind": "base",
      "architecture": checkpoint.architecture.map(JSON.string) ?? .null,
      "model_type": checkpoint.modelType.map(JSON.string) ?? .null,
      "parameters": .integer(checkpoint.parameters),
      "dtypes": dtypes(checkpoint.tensors.map(\.tensor)),
      "source_id": .string(sourceID.description),
      "files": .array(
        checkpoint.files.map { ["name": .string($0.name), "tensors": .integer($0.file.tensors.count)] }),
      "left_out": .array(checkpoint.leftOut.map(JSON.string)),
      "provenance": provenance(checkpoint.path, clock: clock),
    ]
  }

  /// The card of an expert.
  static func expert(_ adapter: PEFTAdapter, baseSourceID: String?, clock: UInt64) -> JSON {
    [
      "card": schema,
      "kind": "expert",
      "type": "lora",
      "modules": .array(
        adapter.groups.map { group in
          [
            "rank": .integer(group.rank), "alpha": .double(group.alpha), "scaling": .double(group.scaling),
            "targets": .array(group.targets.map(JSON.string)),
          ]
        }),
      "prefix": .string(adapter.prefix),
      "parameters": .integer(adapter.parameters),
      "dtypes": dtypes(adapter.file.tensors),
      "base": [
        "name": adapter.baseName.map(JSON.string) ?? .null,
        "source_id": baseSourceID.map(JSON.string) ?? .null,
        "match": "asserted",
      ],
      "files": [["name": "adapter_model.safetensors", "tensors": .integer(adapter.file.tensors.count)]],
      "left_out": .array(adapter.leftOut.map(JSON.string)),
      "provenance": provenance(adapter.path, clock: clock),
    ]
  }

  /// The gate that a fresh bundle has: every expert counts the same.
  ///
  /// It lists nobody and covers everybody.
  static let uniformGate: JSON = [
    "card": 1, "kind": "gate", "score": "constant", "input": "none", "scope": "global", "pooling": "token",
    "normaliser": "softmax", "k": nil, "temperature": 1, "mask": "none", "weights": "uniform",
    "members": "all",
  ]

  private static func dtypes(_ tensors: [SafetensorsTensor]) -> JSON {
    var counts: [(String, JSON)] = []
    for dtype in DType.allCases {
      let elements = tensors.reduce(0) { $0 + ($1.type.dtype == dtype ? $1.type.elementCount : 0) }
      if tensors.contains(where: { $0.type.dtype == dtype }) {
        counts.append((dtype.name, .integer(elements)))
      }
    }
    return .object(counts)
  }

  private static func provenance(_ path: String, clock: UInt64) -> JSON {
    let trimmed = path.split(separator: "/").last.map(String.init) ?? path
    return [
      "imported_from": .string(trimmed), "imported_ns": .integer(clock), "tool": .string(toolName),
    ]
  }
}

/// The name and version that files made by this tool carry.
public let toolName = "lmoe-tool 0.1"
