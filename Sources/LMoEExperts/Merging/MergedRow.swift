import LMoECore
public import LMoEFormat

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// What gates learn of a merged expert.
public enum MergedRowChoice: String, CaseIterable, Sendable {
  /// Nothing: they are unaware of it.
  case none
  /// A number for the share that its members had together.
  case mass
}

/// A gate with a number for an expert that was merged of some that it knows.
///
/// The members' share is exp z₁/τ + … ; the number with the same share is τ·log Σ exp(zⱼ/τ). For a constant gate
/// that is exact. For z linear in x it is not linear; the row here is its tangent where the members' shares are as
/// their weights in the merge, πⱼ: Σ πⱼ·(wⱼ, bⱼ), and τ·H(π) more in the bias (H the entropy in nats). It never
/// gives more than the members had. Prototypes have no bias: theirs is the mean direction.
struct MergedRow {
  let card: JSON
  let entries: [NewEntry]
  /// Places at which some member has no row, so that none could be made.
  let missing: Int

  /// Adds a number for `expert` to a gate.
  ///
  /// - Parameters:
  ///   - shares: The members and π.
  /// - Returns: nil where the gate needs none, or knows none of the members.
  init?(_ stored: StoredGate, expert: Bits128, shares: [(id: Bits128, share: Double)]) throws {
    let gate = stored.gate
    var card = stored.card.object ?? JSONObject()
    var members = gate.members
    if case .listed(let list) = members {
      guard shares.contains(where: { share in list.contains { $0.expert == share.id } }) else { return nil }
      members = .listed(list + [Gate.Member(expert: expert)])
    }
    switch gate.score {
    case .constant(.uniform):
      guard case .listed = members else { return nil }
      (entries, missing) = ([], 0)
    case .constant(.given(let weights)):
      let own = weights.filter { weight in shares.contains { $0.id == weight.expert } }.map(\.value)
      guard !own.isEmpty else { return nil }
      let value =
        gate.normaliser == .none ? own.reduce(0, +) : Self.logSumExp(own, temperature: gate.temperature)
      let changed = Gate(
        .constant(.given(weights + [Gate.Weight(expert: expert, value: value)])), scope: gate.scope,
        normaliser: gate.normaliser)
      card["weights"] = changed.card()["weights"]
      (entries, missing) = ([], 0)
    case .linear, .prototype:
      var rows: Gate.Rows = [:]
      var missing = 0
      for (place, known) in try stored.rows() {
        let own = shares.compactMap { share in known[share.id].map { (values: $0, share: share.share) } }
        if own.isEmpty { continue }
        guard own.count == shares.count else {
          missing += 1
          continue
        }
        rows[place, default: [:]][expert] = Self.row(own, of: gate)
      }
      guard !rows.isEmpty else { return nil }
      self.missing = missing
      entries = try NewGate(gate, rows: rows, initialiser: "").entries(path: stored.bundle.path)
    }
    let listed = Gate(gate.score, scope: gate.scope, normaliser: gate.normaliser, members: members)
    card["members"] = listed.card()["members"]
    self.card = .object(card)
  }

  static func logSumExp(_ values: [Double], temperature: Double) -> Double {
    let largest = values.max() ?? 0
    return largest + temperature * log(values.reduce(0) { $0 + exp(($1 - largest) / temperature) })
  }

  static func row(_ own: [(values: [Float], share: Double)], of gate: Gate) -> [Float] {
    let width = own.first?.values.count ?? 0
    var sums = [Double](repeating: 0, count: width)
    for item in own {
      var (share, sign) = (item.share, 1.0)
      if case .prototype(let similarity) = gate.score {
        let length = item.values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        if similarity == .cosine, length > 0 { share /= length }
        // A direction without a sign is added on the side of the first.
        let dot = zip(item.values, own[0].values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        if similarity == .absoluteDot, dot < 0 { sign = -1 }
      }
      for place in 0..<width { sums[place] += share * sign * Double(item.values[place]) }
    }
    if gate.score == .linear {
      sums[width - 1] +=
        gate.temperature * own.reduce(0) { $1.share > 0 ? $0 - $1.share * log($1.share) : $0 }
    }
    return sums.map { Float($0) }
  }
}

extension BundleWriter {
  /// Adds a merged expert, and does with gates and members what was asked for.
  ///
  /// - Parameters:
  ///   - rows: What gates learn of it.
  ///   - replacesMembers: Whether the experts that were merged leave the bundle.
  /// - Returns: What the user should know of the gates.
  /// - Throws: `ExpertError` if its name cannot be, or it does not fit the base here; `FormatError`.
  public func addMerged(
    _ merged: MergedExpert, of merge: Merge, named name: String, precision: MergedExpert.Precision = .f32,
    rows: MergedRowChoice, replacesMembers: Bool
  ) throws -> [String] {
    guard let base else { throw ExpertError(.noBase, path: path) }
    let here = Set(base.banks(ofKind: "expert").map(\.id))
    let members = zip(merge.inputs, merge.weights).compactMap { input, weight in
      input.id.flatMap { here.contains($0) ? (id: $0, weight: weight.magnitude) : nil }
    }
    let bank = try addExpert(merged, named: name, precision: precision)
    var notes: [String] = []
    if rows == .mass {
      let total = members.reduce(0) { $0 + $1.weight }
      let shares = members.map { (id: $0.id, share: total > 0 ? $0.weight / total : 0) }
      for gate in base.banks(ofKind: "gate") {
        let stored = try base.gate(named: gate.shortName)
        guard let row = try MergedRow(stored, expert: bank.id, shares: shares) else { continue }
        try reviseBank(gate.name, card: row.card, keeping: { _ in true }, adding: row.entries)
        let numbers = row.entries.isEmpty ? "a weight" : "\(row.entries.count) rows"
        notes.append("gate/\(gate.shortName) has \(numbers) for expert/\(name), for its members' share")
        if row.missing > 0 {
          notes.append("gate/\(gate.shortName) has no row at \(row.missing) places where a member has none")
        }
      }
    }
    if replacesMembers {
      let names = base.banks(ofKind: "expert").filter { bank in members.contains { $0.id == bank.id } }
        .map(\.shortName)
      notes.append("removed " + names.map { "expert/\($0)" }.joined(separator: ", "))
      notes += try removeExperts(names).map(\.description)
    }
    return notes
  }
}
