import LMoECore
import LMoEFormat

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// A gate with numbers for experts that some of those it knows have become: each has the share that its members
/// had together (`MergedRow`).
struct ReducedGate {
  /// An expert that others became.
  struct Successor {
    let id: Bits128
    let members: [(id: Bits128, share: Double)]
  }

  let card: JSON
  let entries: [NewEntry]
  /// What the user should know.
  let notes: [String]

  /// Makes the numbers; nil for a gate that needs none.
  ///
  /// - Parameters:
  ///   - remaining: The experts that stay as they are.
  init?(_ stored: StoredGate, _ successors: [Successor], remaining: [Bits128]) throws {
    var gate = stored.gate
    var card = stored.card.object ?? JSONObject()
    let roles = GateRoles(gate)
    let known = successors.filter { item in item.members.contains { roles.role(of: $0.id) == .routed } }
    guard !known.isEmpty else { return nil }
    var rows: Gate.Rows = [:]
    var notes: [String] = []
    var isChanged = false
    if case .listed(let list) = gate.members {
      gate.members = .listed(list + known.map { Gate.Member(expert: $0.id) })
      isChanged = true
    }
    switch gate.score {
    case .constant(.uniform):
      // As long as each of those left stands for as many, all are alike as before.
      let routed =
        remaining.filter { roles.role(of: $0) == .routed }
        + (roles.role(of: Gate.nullExpert) == .routed ? [Gate.nullExpert] : [])
      let counts = known.map { item in item.members.count { roles.role(of: $0.id) == .routed } }
      if Set(counts + routed.map { _ in 1 }).count > 1 {
        let weights =
          routed.map { Gate.Weight(expert: $0, value: 0) }
          + zip(known, counts).map {
            Gate.Weight(expert: $0.id, value: gate.temperature * log(Double($1)))
          }
        gate.score = .constant(.given(weights))
        isChanged = true
        notes.append(
          "gate/\(stored.name) lists weights now, so that those that became one keep their share; it is unaware "
            + "of experts that are added from now on")
      }
    case .constant(.given(let weights)):
      var all = weights
      for item in known {
        let own = weights.filter { weight in item.members.contains { $0.id == weight.expert } }.map(\.value)
        guard !own.isEmpty else { continue }
        let value =
          gate.normaliser == .none
          ? own.reduce(0, +) : MergedRow.logSumExp(own, temperature: gate.temperature)
        all.append(Gate.Weight(expert: item.id, value: value))
        isChanged = true
      }
      gate.score = .constant(.given(all))
    case .linear, .prototype:
      var missing = 0
      for (place, numbers) in try stored.rows() {
        for item in known {
          let own = item.members.compactMap { member in
            numbers[member.id].map { (values: $0, share: member.share) }
          }
          // A member without a row does not act there, or has weight 0: the others' share is all there is.
          let total = own.reduce(0) { $0 + $1.share }
          guard !own.isEmpty else { continue }
          if own.count < item.members.count { missing += 1 }
          rows[place, default: [:]][item.id] = MergedRow.row(
            own.map { ($0.values, total > 0 ? $0.share / total : 1 / Double(own.count)) }, of: gate)
        }
      }
      if missing > 0 {
        notes.append(
          "gate/\(stored.name) has a row of a part of the members at \(missing) places where the others have none"
        )
      }
      isChanged = isChanged || !rows.isEmpty
    }
    guard isChanged else { return nil }
    let new = gate.card()
    card["members"] = new["members"]
    if let weights = new["weights"] { card["weights"] = weights }
    (self.card, self.notes) = (.object(card), notes)
    entries = try NewGate(gate, rows: rows, initialiser: "").entries(path: stored.bundle.path)
    // What no reader would take is not written.
    _ = try Gate(card: self.card, name: stored.name, path: stored.bundle.path)
  }
}
