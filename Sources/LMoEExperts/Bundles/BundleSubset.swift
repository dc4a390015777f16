import LMoECore
public import LMoEFormat

/// Copies a part of a bundle to a new one: all experts or some, the base with its weights or without them.
///
/// Chunks go over as they are stored, banks keep their ids, cards and documents, and banks of kinds that this
/// tool does not know are carried along. There is no history.
public struct BundleSubset: Sendable {
  /// What becomes of the base.
  public enum Base: Sendable {
    /// It stays as it is, embedded or external.
    case asIs
    /// Names, types, hashes and documents, and no weights.
    case withoutWeights
    /// With weights that are elsewhere.
    case embedded(ResolvedBase)
  }

  /// The names of the experts to copy; nil for all.
  public var experts: [String]?
  /// What becomes of the base.
  public var base = Base.asIs

  /// Copies all.
  public init() {}

  /// Copies the part of `bundle` to `writer`, which is then ready to commit.
  ///
  /// - Returns: What gates lost with the experts that stay behind.
  /// - Throws: `no-such-bank` for an expert that is not there, `ExpertError` with `other-base`, any damage found
  ///   on the way.
  @discardableResult public func write(_ bundle: Bundle, to writer: BundleWriter) throws -> [GateChange] {
    for name in experts ?? [] { _ = try bundle.bank("expert/" + name) }
    let dropped = bundle.banks.filter { !isWanted($0) }
    let part = GateSubset(without: dropped, of: bundle.banks)
    var changes: [GateChange] = []
    for bank in bundle.banks where isWanted(bank) {
      let card = try bundle.card(of: bank)
      switch (bank.kind, base) {
      case ("base", .embedded(let resolved)): try writeBase(bank, of: bundle, from: resolved, to: writer)
      case ("gate", _) where !dropped.isEmpty:
        let manifest = try bundle.manifest(of: bank)
        changes += [part.change(bank, card: card ?? [:], manifest: manifest)].compactMap(\.self)
        try writer.addBank(
          bank.name, id: bank.id, card: card.map(part.card),
          entries: try bundle.entriesToCopy(of: bank).filter { part.keeps($0.name, $0.class) },
          isExternal: bank.isExternal)
      default:
        var isExternal = bank.isExternal
        if case .withoutWeights = base, bank.kind == "base" { isExternal = true }
        try writer.addBank(
          bank.name, id: bank.id, card: card, entries: try bundle.entriesToCopy(of: bank),
          isExternal: isExternal)
      }
    }
    return changes
  }

  /// Raw bytes of the tensors whose bytes it copies, for progress.
  public func rawBytes(of bundle: Bundle) -> UInt64 {
    bundle.banks.filter(isWanted).reduce(0) { total, bank in
      switch base {
      case .withoutWeights where bank.kind == "base": total
      case .asIs where bank.isExternal: total
      default: total + bank.logicalBytes
      }
    }
  }

  private func isWanted(_ bank: BankEntry) -> Bool {
    guard bank.kind == "expert", let experts else { return true }
    return experts.contains { $0.hasSameBytes(as: bank.shortName) }
  }

  private func writeBase(
    _ bank: BankEntry, of bundle: Bundle, from base: ResolvedBase, to writer: BundleWriter
  ) throws {
    let documents = try bundle.entriesToCopy(of: bank).filter { $0.class == .document }
    let written = try writer.addBank(
      bank.name, id: bank.id, card: try bundle.card(of: bank),
      entries: base.tensors.indices.map(base.newEntry) + documents)
    guard written.contentID != bank.contentID else { return }
    // Something was not what the bundle says: read again, to name it.
    try base.verify()
    throw FormatError(.contentMismatch, path: base.path, bank: bank.name)
  }
}
