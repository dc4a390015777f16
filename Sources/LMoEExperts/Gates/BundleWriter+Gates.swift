import LMoECore
public import LMoEFormat

extension BundleWriter {
  /// Takes experts out, and what the gates say of them.
  ///
  /// - Returns: What gates lost.
  /// - Throws: `no-such-bank`, or what reading a gate throws.
  @discardableResult public func removeExperts(_ names: [String]) throws -> [GateChange] {
    var removed: [BankEntry] = []
    for name in names {
      let full = "expert/" + name
      removed += [banks.first { $0.name.hasSameBytes(as: full) }].compactMap(\.self)
      try removeBank(full)
    }
    return try forget(removed)
  }

  /// Takes out what the gates say of experts that are gone.
  func forget(_ removed: [BankEntry]) throws -> [GateChange] {
    let part = GateSubset(without: removed, of: banks)
    var changes: [GateChange] = []
    for bank in banks where bank.kind == "gate" {
      guard let card = try card(of: bank),
        let change = part.change(bank, card: card, manifest: try manifest(of: bank))
      else { continue }
      if change.rowCount > 0 {
        try reduceBank(bank.name, card: part.card(card)) { part.keeps($0.name, $0.class) }
      } else {
        try replaceCard(of: bank.name, with: part.card(card))
      }
      changes.append(change)
    }
    return changes
  }
}
