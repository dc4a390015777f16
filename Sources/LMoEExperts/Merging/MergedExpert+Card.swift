import LMoECore
public import LMoEFormat

extension Merge {
  /// How an expert was merged, for its card (registry §5.6).
  func record(_ merged: MergedExpert, clock: UInt64) -> JSON {
    var object: [(String, JSON)] = [
      ("method", .string(method.kind.rawValue)),
      (
        "from",
        .array(
          zip(inputs, weights).map { input, weight in
            [
              "name": .string(input.label), "id": input.id.map { .string($0.description) } ?? .null,
              "weight": .double(weight),
            ]
          })
      ),
    ]
    if method.hasFlavors { object.append(("flavor", .string(method.flavor.rawValue))) }
    if method.usesDensity { object.append(("density", .double(method.density))) }
    if method.usesLambda { object.append(("lambda", .double(method.lambda))) }
    if method.kind == .breadcrumbs { object.append(("gamma", .double(method.gamma))) }
    if method.kind == .della { object.append(("epsilon", .double(method.epsilon))) }
    if method.kind == .slerp, let t = method.t { object.append(("t", .double(t))) }
    if method.isRandom { object.append(("seed", .integer(Int(clamping: method.seed)))) }
    object += facts
    object += [
      ("error", Cards.rounded(merged.error)), ("made_ns", .integer(clock)), ("tool", .string(toolName)),
    ]
    return .object(object)
  }

  /// The base that all experts were trained on, as a card says it.
  private func baseRecord(_ base: BaseDescription?) -> JSON {
    let ids = Set(inputs.map(\.baseSourceID))
    let own = ids.count == 1 ? ids.first ?? nil : nil
    let names = Set(inputs.compactMap(\.baseName))
    return [
      "name": (base?.name ?? (names.count == 1 ? names.first : nil)).map(JSON.string) ?? .null,
      "source_id": (base?.sourceID ?? own).map(JSON.string) ?? .null,
      "match": .string("asserted"),
    ]
  }

  /// The card of the merged expert.
  func card(
    _ merged: MergedExpert, _ entries: [NewEntry], base: BaseDescription?, clock: UInt64
  ) -> JSON {
    let groups = merged.groups
    let norm = DeltaNorms.total(groups.flatMap(\.norms))
    let isLinear = !merged.modules.contains(where: \.isEmbedding)
    let share =
      isLinear ? DeltaNorms.share(norm, of: merged.modules.map(\.name), in: base) : nil
    return [
      "card": Cards.schema, "kind": "expert", "type": "lora", "modules": .array(groups.map(\.json)),
      "prefix": .string(PEFTTensorName.prefix), "norm": norm.map(Cards.rounded) ?? .null,
      "share": share.map(Cards.rounded) ?? .null,
      "parameters": .integer(entries.reduce(0) { $0 + $1.type.elementCount }),
      "dtypes": entries.map(\.type).dtypeCounts, "base": baseRecord(base), "files": [], "left_out": [],
      "provenance": ["made_by": "merge", "made_ns": .integer(clock), "tool": .string(toolName)],
      "merge": record(merged, clock: clock),
    ]
  }
}

extension BundleWriter {
  /// Adds a merged expert as the bank `expert/<name>`.
  ///
  /// - Throws: `ExpertError` if its name cannot be, or it does not fit the base here; `FormatError`.
  @discardableResult public func addExpert(
    _ merged: MergedExpert, of merge: Merge, named name: String, precision: MergedExpert.Precision = .f32
  ) throws -> BankEntry {
    try requireExpertName(name)
    let base = try baseDescription()
    let entries = try merged.tensors(precision)
    let card = merge.card(merged, entries, base: base, clock: options.clock())
    for module in merged.modules where base.names.shape(module.name + ".weight") == nil {
      throw ExpertError(
        .noSuchModule, path: path, name: module.name,
        expected: closestName(to: module.name, among: base.names.modules))
    }
    return try addBank("expert/" + name, card: card, entries: entries)
  }
}
