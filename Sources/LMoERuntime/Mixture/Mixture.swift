import LMoECore
import LMoEExperts
import LMoEFormat

/// A selection, looked up in the bundle: the experts it names, and what weighs them.
struct Mixture {
  /// The experts, in the order of the gate's columns.
  let records: [ExpertRecord]
  /// Whether the one expert there is applies with all that it changes.
  let isOutright: Bool
  /// What weighs them; nil if there are none.
  let gate: MixtureGate?
  /// Names of the gate's columns: the experts, and "" for the null expert.
  let columns: [String]

  /// Looks up `selection`.
  ///
  /// - Throws: `RuntimeError` with `no-such-expert`, `no-experts`, `not-mixable`; `ExpertError`, `FormatError`.
  init(_ selection: Selection, of base: LoadedBase) throws {
    let bundle = base.bundle
    switch selection {
    case .base:
      (records, isOutright, gate) = ([], false, nil)
    case .expert(let name):
      records = [try ExpertRecord(name, in: bundle, base: base.description)]
      isOutright = true
      gate = MixtureGate(constant: [1])
    case .weights(let weighted):
      records = try Self.mixable(weighted.map(\.name), of: base)
      isOutright = false
      gate = MixtureGate(constant: weighted.map { Float($0.weight) })
    case .uniform:
      let names = bundle.banks(ofKind: "expert").map(\.shortName)
      guard !names.isEmpty else { throw RuntimeError(.noExperts, path: bundle.path) }
      records = try Self.mixable(names, of: base)
      isOutright = false
      gate = MixtureGate(constant: names.map { _ in 1 / Float(names.count) })
    case .gate(let name):
      self = try Self.gated(name, of: base)
      return
    }
    columns = records.map(\.name)
  }

  /// Experts that something weighs.
  init(_ records: [ExpertRecord], _ gate: MixtureGate, columns: [String]) {
    (self.records, isOutright, self.gate, self.columns) = (records, false, gate, columns)
  }

  /// Experts that a gate weighs, whether it is in the bundle or not.
  static func routed(
    _ records: [ExpertRecord], _ routing: GateRouting, hasNull: Bool, name: String, _ path: String
  ) -> Mixture {
    var columns: [Bits128: Int] = [:]
    for (index, record) in records.enumerated() where columns[record.id] == nil { columns[record.id] = index }
    if hasNull { columns[Gate.nullExpert] = records.count }
    return Mixture(
      records, MixtureGate(routing, columns: columns, name: name, path: path),
      columns: records.map(\.name) + (hasNull ? [""] : []))
  }

  /// The experts that take part in a gate of the bundle, in the order of their names.
  private static func gated(_ name: String, of base: LoadedBase) throws -> Mixture {
    let bundle = base.bundle
    guard bundle.root.bank("gate/" + name) != nil else {
      throw RuntimeError(
        .noSuchGate, path: bundle.path, name: name,
        expected: closestName(to: name, among: bundle.banks(ofKind: "gate").map(\.shortName)),
        found: bundle.gateNames)
    }
    let routing = try bundle.gate(named: name).routing(on: base.pool)
    let members = Set(routing.always + routing.places.values.flatMap(\.experts))
    let names = bundle.banks(ofKind: "expert").filter { members.contains($0.id) }.map(\.shortName)
    let records = try mixable(names, of: base)
    return routed(
      records, routing, hasNull: members.contains(Gate.nullExpert), name: name, bundle.path)
  }

  /// Reads what experts change, on all workers; of several that cannot be mixed, the first is told.
  private static func mixable(_ names: [String], of base: LoadedBase) throws -> [ExpertRecord] {
    let found = Guarded<[Int: Result<ExpertRecord, any Error>]>([:])
    base.pool.run(items: names.count) { index, _ in
      let result = Result {
        try mixable(ExpertRecord(names[index], in: base.bundle, base: base.description), base.bundle)
      }
      found.withValue { $0[index] = result }
    }
    let results = found.withValue { $0 }
    return try names.indices.compactMap { try results[$0]?.get() }
  }

  static func mixable(_ record: ExpertRecord, _ bundle: Bundle) throws -> ExpertRecord {
    if let obstacle = record.obstacle {
      throw RuntimeError(.notMixable, path: bundle.path, name: record.name, found: obstacle)
    }
    return record
  }
}
