import LMoECore
import LMoEFormat

/// Trained weights on their way into a bundle: into the one they come from, or a copy of it.
struct TrainingChange {
  private let weights: TrainedWeights
  private let bundle: Bundle
  private let writer: BundleWriter
  private let record: JSON
  private let base: BaseDescription?
  private let clock: UInt64

  init(_ weights: TrainedWeights, of bundle: Bundle, to writer: BundleWriter) throws {
    (self.weights, self.bundle, self.writer) = (weights, bundle, writer)
    clock = writer.options.clock()
    record = weights.card(clock: clock)
    // A base of a model that this tool does not know has no norms to compare with.
    base = try? bundle.baseDescription()
  }

  private var isCopy: Bool { writer.base == nil }

  /// Copies the banks that the weights are not about.
  func copyOthers() throws {
    let touched = Set(weights.banks.map { ByteKey($0) })
    let kept = Set(weights.newGates.filter { !$0.replaces }.map { ByteKey("gate/" + $0.name) })
      .union(weights.newExperts.map { ByteKey("expert/" + $0.expert.name) })
    for bank in bundle.banks where !touched.contains(ByteKey(bank.name)) || kept.contains(ByteKey(bank.name))
    {
      try writer.addBank(
        bank.name, id: bank.id, card: try bundle.card(of: bank), entries: try bundle.entriesToCopy(of: bank),
        isExternal: bank.isExternal)
    }
  }

  /// Writes all banks that the weights are about.
  ///
  /// - Returns: The banks, in the order of `TrainedWeights.banks`.
  func apply() throws -> [BankEntry] {
    var written: [BankEntry] = []
    var gates: [Gate] = []
    for item in weights.gates {
      let bank = try bundle.bank("gate/" + item.name)
      let revision = try GateRevision(bank, in: bundle, item.numbers, record: record)
      written.append(try put(bank, revision.card, revision.entries, keeping: revision.keeps))
      gates.append(revision.gate)
    }
    for item in weights.newGates {
      written.append(
        try writer.addGate(
          item.gate.trained(record), named: item.name, replaces: item.replaces && !isCopy))
      gates.append(item.gate.gate)
    }
    try check(gates, written)
    for item in weights.experts {
      let bank = try bundle.bank("expert/" + item.name)
      let revision = try ExpertRevision(
        bank, in: bundle, tensors: item.tensors, record: record, base: base, on: writer.options.pool)
      written.append(try put(bank, revision.card, revision.entries, keeping: revision.keeps))
    }
    for item in weights.newExperts { written.append(try add(item)) }
    return written
  }

  private func add(_ item: TrainedWeights.Addition) throws -> BankEntry {
    try requireExpertName(item.expert.name)
    let (card, entries) = try item.expert.bank(
      item.tensors, path: writer.path, record: record, clock: clock, on: writer.options.pool)
    let bank = try writer.addBank(
      "expert/" + item.expert.name, id: item.expert.id, card: card, entries: entries)
    let shapes = try BaseShapes(bundle)
    try ExpertFit(
      card: card, manifest: try writer.manifest(of: bank), path: writer.path + "#" + bank.shortName
    )
    .check(againstBase: shapes.shape)
    return bank
  }

  /// Gives a bank its new content, under the id it has.
  private func put(
    _ bank: BankEntry, _ card: JSON, _ entries: [NewEntry], keeping isKept: (Entry) -> Bool
  ) throws -> BankEntry {
    guard isCopy else {
      return try writer.reviseBank(bank.name, card: card, keeping: isKept, adding: entries)
    }
    let kept = try bundle.manifest(of: bank).entries.filter(isKept).map {
      NewEntry(copying: BankedEntry(bank: bank.name, entry: $0), of: bundle)
    }
    return try writer.addBank(bank.name, id: bank.id, card: card, entries: kept + entries)
  }

  /// Makes sure that the rows of the gates are what readers expect of them.
  private func check(_ gates: [Gate], _ banks: [BankEntry]) throws {
    let shapes = bundle.root.bank("base") == nil ? nil : try BaseShapes(bundle)
    for (bank, gate) in zip(banks, gates) {
      let table = GateTable(gate, base: shapes, name: bank.shortName, path: writer.path)
      _ = try table.rows(try writer.manifest(of: bank))
    }
  }
}
