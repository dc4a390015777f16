import LMoECore
public import LMoEFormat

extension Merge {
  /// How the expert was merged.
  var origin: MergedExpert.Origin {
    var record: [(String, JSON)] = [
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
    if method.hasFlavors { record.append(("flavor", .string(method.flavor.rawValue))) }
    if method.usesDensity { record.append(("density", .double(method.density))) }
    if method.usesLambda { record.append(("lambda", .double(method.lambda))) }
    if method.kind == .breadcrumbs { record.append(("gamma", .double(method.gamma))) }
    if method.kind == .della { record.append(("epsilon", .double(method.epsilon))) }
    if method.kind == .slerp, let t = method.t { record.append(("t", .double(t))) }
    if method.isRandom { record.append(("seed", .integer(Int(clamping: method.seed)))) }
    record += facts
    let ids = Set(inputs.map(\.baseSourceID))
    let names = Set(inputs.compactMap(\.baseName))
    return MergedExpert.Origin(
      command: "merge", record: record,
      baseName: base?.description.name ?? (names.count == 1 ? names.first : nil),
      baseSourceID: base?.description.sourceID ?? (ids.count == 1 ? ids.first ?? nil : nil))
  }
}

extension MergedExpert {
  /// The card of the expert.
  ///
  /// - Parameter base: The base it is for, where that is known better than its origin knows it.
  func card(_ entries: [NewEntry], base: BaseDescription?, clock: UInt64) -> JSON {
    let groups = groups
    let norm = DeltaNorms.total(groups.flatMap(\.norms))
    let hasEmbeddings = modules.contains(where: \.isEmbedding)
    let share = hasEmbeddings ? nil : DeltaNorms.share(norm, of: modules.map(\.name), in: base)
    let made: [(String, JSON)] = [("made_ns", .integer(clock)), ("tool", .string(toolName))]
    return [
      "card": Cards.schema, "kind": "expert", "type": "lora", "modules": .array(groups.map(\.json)),
      "prefix": .string(PEFTTensorName.prefix), "norm": norm.map(Cards.rounded) ?? .null,
      "share": share.map(Cards.rounded) ?? .null,
      "parameters": .integer(entries.reduce(0) { $0 + $1.type.elementCount }),
      "dtypes": entries.map(\.type).dtypeCounts,
      "base": [
        "name": (base?.name ?? origin.baseName).map(JSON.string) ?? .null,
        "source_id": (base?.sourceID ?? origin.baseSourceID).map(JSON.string) ?? .null, "match": "asserted",
      ],
      "files": [], "left_out": [],
      "provenance": .object([("made_by", .string(origin.command))] + made),
      "derived": .object(
        [("by", .string(origin.command))] + origin.record + [("error", Cards.rounded(error))] + made),
    ]
  }
}

extension BundleWriter {
  /// Adds a derived expert as the bank `expert/<name>`.
  ///
  /// - Throws: `ExpertError` if its name cannot be, or it does not fit the base here; `FormatError`.
  @discardableResult public func addExpert(
    _ merged: MergedExpert, named name: String, precision: MergedExpert.Precision = .f32
  ) throws -> BankEntry {
    try requireExpertName(name)
    let base = try baseDescription()
    for module in merged.modules {
      guard let shape = base.names.shape(module.name + ".weight") else {
        throw ExpertError(
          .noSuchModule, path: path, name: module.name,
          expected: closestName(to: module.name, among: base.names.modules))
      }
      guard shape == [module.product.rows, module.product.columns] else {
        throw ExpertError(
          .shapeMismatch, path: path, name: module.name, expected: "\(shape)",
          found: "\([module.product.rows, module.product.columns])")
      }
    }
    let entries = try merged.tensors(precision)
    let card = merged.card(entries, base: base, clock: options.clock())
    return try addBank("expert/" + name, card: card, entries: entries)
  }
}
