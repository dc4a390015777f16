public import LMoECore
public import LMoEFormat

/// Experts that became one, on their way into a bundle.
public struct MergedCluster: Sendable {
  /// The name of what they became.
  public let name: String
  /// The names of those that were merged.
  public let members: [String]
  /// What they became.
  public let expert: MergedExpert
  let merge: Merge
}

extension ExpertReduction {
  /// Merges each cluster: the weighted sum of its deltas.
  ///
  /// - Parameters:
  ///   - rank: How large a rank each gets; by default that of its largest member.
  ///   - base: Has the weights that DoRA rescales.
  /// - Throws: `ExpertError`, `FormatError`.
  public func merged(
    in bundle: Bundle, rank: RankChoice = .natural, base: BaseWeights? = nil, on pool: WorkerPool = .shared
  ) throws -> [MergedCluster] {
    var taken = bundle.banks(ofKind: "expert").map(\.shortName)
    return try clusters.map { cluster in
      let names = cluster.members.map { candidates[$0].name }
      let inputs = try names.map { try MergeInput(StoredExpert($0, in: bundle)) }
      let merge = try Merge(
        inputs, weights: cluster.weights, by: MergeMethod(rank == .natural ? .svd : .linear), rank: rank,
        base: base)
      let name = Self.name(for: names, taken)
      taken.append(name)
      return MergedCluster(name: name, members: names, expert: try merge.run(on: pool), merge: merge)
    }
  }

  /// `a+b`, or shorter where that is too long or taken.
  private static func name(for names: [String], _ taken: [String]) -> String {
    let whole = names.joined(separator: "+")
    let first =
      whole.utf8.count <= 64 ? whole : "\(names[0].utf8.count <= 48 ? names[0] : "merged")+\(names.count - 1)"
    func isTaken(_ name: String) -> Bool { taken.contains { $0.hasSameBytes(as: name) } }
    guard isTaken(first) else { return first }
    var number = 2
    while isTaken("\(first)-\(number)") { number += 1 }
    return "\(first)-\(number)"
  }
}

extension BundleWriter {
  /// Takes experts out as it was decided: those that leave, and those that became one, which comes in.
  ///
  /// Gates give each merged expert the share that its members had together, and forget all that left.
  ///
  /// - Parameters:
  ///   - bundle: The bundle that this writer changes, or has copied but for those that leave.
  ///   - merged: What the clusters became.
  /// - Returns: What the user should know of the gates.
  /// - Throws: `ExpertError`, `FormatError`.
  public func reduce(
    _ reduction: ExpertReduction, merged: [MergedCluster] = [], of bundle: Bundle
  ) throws -> [String] {
    let base = try? bundle.baseDescription()
    let ids = Dictionary(
      reduction.candidates.map { (ByteKey($0.name), $0.id) }, uniquingKeysWith: { first, _ in first })
    var successors: [ReducedGate.Successor] = []
    for cluster in merged {
      let id = try Bits128.random()
      let entries = try cluster.expert.tensors(.f32)
      let card = cluster.expert.card(entries, base: base, clock: options.clock())
      try requireExpertName(cluster.name)
      try addBank("expert/" + cluster.name, id: id, card: card, entries: entries)
      successors.append(
        ReducedGate.Successor(
          id: id,
          members: zip(cluster.members, cluster.merge.weights).compactMap { name, weight in
            ids[ByteKey(name)].map { ($0, weight) }
          }))
    }
    let leaving =
      reduction.leaving.map { reduction.candidates[$0].name } + merged.flatMap(\.members)
    var notes: [String] = []
    if !successors.isEmpty {
      let gone = Set(leaving.map { ByteKey($0) })
      let remaining = bundle.banks(ofKind: "expert").filter { !gone.contains(ByteKey($0.shortName)) }.map(
        \.id)
      for bank in bundle.banks(ofKind: "gate") {
        let stored = try bundle.gate(named: bank.shortName)
        guard let gate = try ReducedGate(stored, successors, remaining: remaining) else { continue }
        try reviseBank(bank.name, card: gate.card, keeping: { _ in true }, adding: gate.entries)
        notes += gate.notes
      }
    }
    let removed = try leaving.map { try bundle.bank("expert/" + $0) }
    for bank in removed where banks.contains(where: { $0.name.hasSameBytes(as: bank.name) }) {
      try removeBank(bank.name)
    }
    return try notes + forget(removed).map(\.description)
  }
}
