import LMoECore
import LMoEFormat

extension NewExpert {
  /// Its card and its tensors, with the values of a training run.
  ///
  /// - Throws: `ExpertError` with `invalid-training` for values that are missing, left over or of another
  ///   shape, or with `non-finite`; `FormatError`.
  func bank(
    _ tensors: [FloatTensor], path: String, record: JSON, clock: UInt64, on pool: WorkerPool
  ) throws -> (card: JSON, entries: [NewEntry]) {
    let path = path + "#" + name
    var values: [ByteKey: [Float]] = [:]
    let shapes = Dictionary(
      self.tensors.map { (ByteKey($0.name), $0.shape) }, uniquingKeysWith: { first, _ in first })
    for tensor in tensors {
      guard shapes[ByteKey(tensor.name)] == tensor.shape else {
        let expected = shapes[ByteKey(tensor.name)].map { ", and it has to be \($0)" } ?? " and no place"
        throw ExpertError(
          .invalidTraining, path: path, name: tensor.name, found: "the shape \(tensor.shape)\(expected)")
      }
      values[ByteKey(tensor.name)] = try tensor.finiteFloats(path: path)
    }
    for needed in self.tensors where values[ByteKey(needed.name)] == nil {
      throw ExpertError(.invalidTraining, path: path, name: needed.name, found: "no values")
    }
    guard values.count == tensors.count else {
      throw ExpertError(.invalidTraining, path: path, name: name, found: "two sets of values for a tensor")
    }
    let numbers = ModuleGroup.Numbers(rank: rank, alpha: alpha, scaling: scaling)
    let norms = DeltaNorms.measure(
      modules.map {
        DeltaNorms.Factors(
          numbers: numbers, a: values[ByteKey(Self.name(ofA: $0.name))] ?? [],
          b: values[ByteKey(Self.name(ofB: $0.name))] ?? [])
      }, on: pool)
    let group = ModuleGroup(numbers, targets: modules.map(\.name), norms: norms)
    let norm = DeltaNorms.total(norms)
    let entries = tensors.compactMap(\.entry)
    let card: JSON = [
      "card": Cards.schema, "kind": "expert", "type": "lora", "modules": [group.json],
      "prefix": .string(PEFTTensorName.prefix), "norm": norm.map(Cards.rounded) ?? .null,
      "share": DeltaNorms.share(norm, of: modules.map(\.name), in: base).map(Cards.rounded) ?? .null,
      "parameters": .integer(entries.reduce(0) { $0 + $1.type.elementCount }),
      "dtypes": entries.map(\.type).dtypeCounts,
      "base": [
        "name": base.name.map(JSON.string) ?? .null, "source_id": base.sourceID.map(JSON.string) ?? .null,
        "match": .string(base.sourceID == nil ? "asserted" : "verified"),
      ],
      "files": [], "left_out": [],
      "provenance": ["made_by": "train", "made_ns": .integer(clock), "tool": .string(toolName)],
      "training": record,
    ]
    return (card, entries)
  }
}
