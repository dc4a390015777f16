import LMoECore
import LMoEFormat

/// Experts about to be added to the weights of a base, all at once.
public struct BaseMerge: Sendable {
  /// When sums are rounded to the base's dtype.
  public enum Rounding: String, CaseIterable, Sendable {
    /// Once, at the end.
    case exact
    /// After every expert, in their order, as PEFT's `merge_and_unload` on several adapters.
    case peft
  }

  let merge: Merge
  let base: BaseWeights
  let rounding: Rounding

  /// Checks that every change has a place in the base.
  ///
  /// - Throws: `ExpertError` with `no-such-module`, `shape-mismatch`, `no-static-delta` or `invalid-merge`.
  public init(_ merge: Merge, base: BaseWeights, rounding: Rounding = .exact) throws {
    (self.merge, self.base, self.rounding) = (merge, base, rounding)
    let names = base.description.names
    for module in merge.modules {
      guard let first = module.members.first else { continue }
      let path = merge.inputs[first.input].path
      guard let shape = names.shape(module.name + ".weight") else {
        throw ExpertError(
          .noSuchModule, path: path, name: module.name,
          expected: closestName(to: module.name, among: names.modules))
      }
      guard shape == [module.rows, module.columns] else {
        throw ExpertError(
          .shapeMismatch, path: path, name: module.name, expected: "\(shape)",
          found: "\([module.rows, module.columns])")
      }
      if module.members.contains(where: { $0.module.bias != nil }), names.shape(module.name + ".bias") == nil
      {
        throw ExpertError(
          .noStaticDelta, path: path, name: module.name,
          found: "its B has a bias (lora_bias), and the base's layer has none that it could be added to")
      }
    }
    for input in merge.inputs {
      if let rows = input.rowsReplaced.first {
        throw ExpertError(
          .noStaticDelta, path: input.path, name: rows, expected: "the expert as it is (\"--expert\")",
          found: "it replaces rows of the embedding")
      }
      for item in input.replacements {
        guard merge.method.isLinear, rounding == .exact else {
          throw ExpertError(
            .noStaticDelta, path: input.path, name: item.tensor, expected: "--method linear",
            found: "it replaces the base's tensor as a whole")
        }
        guard names.shape(item.tensor) != nil else {
          throw ExpertError(.noSuchTensor, path: input.path, name: item.with, expected: item.tensor)
        }
      }
    }
    for (tensor, _) in changes {
      guard let entry = base.tensor(tensor), [.f32, .f16, .bf16].contains(entry.type.dtype) else {
        throw ExpertError(
          .invalidMerge, path: base.path,
          found:
            "the base's \(tensor) is \(base.tensor(tensor)?.type.dtypeName ?? "missing"), and sums are stored in F32, F16 or BF16; merge into the base it was quantized from"
        )
      }
    }
    if rounding == .peft,
      !merge.method.isLinear || merge.modules.contains(where: { $0.members.contains { $0.module.isDoRA } })
    {
      throw ExpertError(
        .invalidMerge, path: "", found: "PEFT's rounding is defined for weighted sums of plain LoRA deltas")
    }
  }

  /// The model's tensors that change.
  private var changes: [(tensor: String, module: Merge.Module?)] {
    merge.modules.map { ($0.name + ".weight", $0) }
      + merge.modules.filter { $0.members.contains { $0.module.bias != nil } }.map {
        ($0.name + ".bias", nil)
      }
      + merge.inputs.flatMap(\.replacements).map { ($0.tensor, nil) }
  }

  /// Whether head and embedding of a tied model part: one of them changes.
  public var unties: Bool {
    base.description.model.tiesEmbeddings
      && changes.contains { $0.tensor == "lm_head.weight" || $0.tensor == "model.embed_tokens.weight" }
  }

  /// The tensors of the base with their new values, by the files they go into.
  func files() -> [(name: String, tensors: [NewEntry])] {
    let names = base.description.names
    var byName: [ByteKey: String] = [:]
    for (tensor, _) in changes {
      if let stored = names.stored(tensor) { byName[ByteKey(stored)] = tensor }
    }
    let shared = unties ? names.stored("model.embed_tokens.weight") : nil
    return base.files.map { file in
      (
        file.name,
        file.tensors.flatMap { entry -> [NewEntry] in
          if let shared, entry.name.hasSameBytes(as: shared) { return untied(entry) }
          // A tied checkpoint may ship the head once more; untied, it has been written above.
          if shared != nil, entry.name == "lm_head.weight" { return [] }
          guard let tensor = byName[ByteKey(entry.name)] else { return [entry] }
          return [changed(entry, tensor, as: entry.name)]
        }
      )
    }
  }

  private func untied(_ entry: NewEntry) -> [NewEntry] {
    let embedding =
      entry.name == "lm_head.weight" ? "model.embed_tokens.weight" : entry.name
    return [
      changed(entry, "model.embed_tokens.weight", as: embedding),
      changed(entry, "lm_head.weight", as: "lm_head.weight"),
    ]
  }

  /// A tensor with its new values; as it is, where nothing changes it.
  private func changed(_ entry: NewEntry, _ tensor: String, as name: String) -> NewEntry {
    let module = merge.modules.first { ($0.name + ".weight").hasSameBytes(as: tensor) }
    let biased = merge.modules.first { ($0.name + ".bias").hasSameBytes(as: tensor) }
    let replacements = merge.inputs.indices.compactMap { index -> (Int, String)? in
      merge.inputs[index].replacements.first { $0.tensor.hasSameBytes(as: tensor) }.map { (index, $0.with) }
    }
    guard module != nil || biased != nil || !replacements.isEmpty else {
      return NewEntry(tensor: name, type: entry.type, source: entry.source)
    }
    return NewEntry(
      tensor: name, type: entry.type,
      source: MergedWeight(
        self, entry, module: module,
        biased: biased?.members.contains { $0.module.bias != nil } == true ? biased : nil,
        replacements: replacements))
  }
}
