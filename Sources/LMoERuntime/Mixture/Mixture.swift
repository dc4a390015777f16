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
  let gate: GateRows?
  /// Names of the gate's columns: the experts, and "" for the null expert.
  let columns: [String]

  /// Looks up `selection`.
  ///
  /// - Throws: `RuntimeError` with `no-such-expert`, `no-experts`, `not-mixable`; `ExpertError`, `FormatError`.
  init(_ selection: Selection, of base: LoadedBase) throws {
    let bundle = base.bundle
    func record(_ name: String) throws -> ExpertRecord {
      try ExpertRecord(name, in: bundle, base: base.description)
    }
    switch selection {
    case .base:
      (records, isOutright, gate) = ([], false, nil)
    case .expert(let name):
      records = [try record(name)]
      isOutright = true
      gate = .constant([1])
    case .weights(let weighted):
      records = try weighted.map { try Self.mixable(record($0.name), bundle) }
      isOutright = false
      gate = .constant(weighted.map { Float($0.weight) })
    case .uniform:
      let names = bundle.banks(ofKind: "expert").map(\.shortName)
      guard !names.isEmpty else { throw RuntimeError(.noExperts, path: bundle.path) }
      records = try names.map { try Self.mixable(record($0), bundle) }
      isOutright = false
      gate = .constant(names.map { _ in 1 / Float(names.count) })
    case .gate(let name):
      throw RuntimeError(.noSuchGate, path: bundle.path, name: name)
    }
    columns = records.map(\.name)
  }

  private static func mixable(_ record: ExpertRecord, _ bundle: Bundle) throws -> ExpertRecord {
    if let obstacle = record.obstacle {
      throw RuntimeError(.notMixable, path: bundle.path, name: record.name, found: obstacle)
    }
    return record
  }
}
