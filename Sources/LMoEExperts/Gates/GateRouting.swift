public import LMoECore

/// A gate on the experts of its bundle: who takes part where, in the order in which they stand.
///
/// What remains for whoever runs the model is to score, to normalise and to mix.
public struct GateRouting: Sendable {
  /// A place where the gate decides.
  public struct Place: Sendable {
    /// The routed experts that take part, ascending by id: the null expert first, and of equal scores the one
    /// that stands earlier is taken.
    public let experts: [Bits128]
    /// The scores of a constant gate, in the order of the experts; empty for a learned one.
    public let scores: [Double]
    /// The rows of a learned gate, in the order of the experts; empty for a constant one.
    public let rows: [[Float]]

    init(experts: [Bits128], scores: [Double] = [], rows: [[Float]] = []) {
      (self.experts, self.scores, self.rows) = (experts, scores, rows)
    }
  }

  /// The gate.
  public internal(set) var gate: Gate
  /// The experts that are on with weight 1, ascending by id.
  public let always: [Bits128]
  /// The places, by name.
  public internal(set) var places: [ByteKey: Place]

  /// Where the decision for a linear layer is made; nil where no expert is routed.
  public func place(ofModule module: String) -> Place? {
    gate.place(ofModule: module).flatMap { places[ByteKey($0)] }
  }
}

extension StoredGate {
  /// Reads its rows and brings them together with the experts of the bundle.
  ///
  /// Rows without effect are left out: of experts that are gone, not routed, or do not act at the place.
  ///
  /// - Throws: `ExpertError` with `invalid-gate` for a value that is not finite, `FormatError`.
  public func routing(on pool: WorkerPool = .shared) throws -> GateRouting {
    let experts = try ExpertPlaces(bundle)
    let roles = GateRoles(gate)
    let always = experts.experts.filter { roles.role(of: $0.id) == .always }.map(\.id)
    var table: [ByteKey: [(expert: Bits128, score: Double, row: [Float])]] = [:]
    if gate.isLearned {
      let acts = Dictionary(
        experts.experts.map { ($0.id, $0.places(in: gate)) }, uniquingKeysWith: { first, _ in first })
      let wanted = try values(on: pool) { row in
        guard roles.role(of: row.expert) == .routed else { return false }
        if row.expert == Gate.nullExpert { return true }
        guard let places = acts[row.expert] else { return false }
        return places?.contains(row.place) ?? true
      }
      for (row, values) in wanted { table[row.place, default: []].append((row.expert, 0, values)) }
    } else {
      let routed = experts.experts.filter { roles.role(of: $0.id) == .routed }
      let acts = routed.map { ($0.id, $0.places(in: gate) ?? []) }
      let all = acts.reduce(into: Set<ByteKey>()) { $0.formUnion($1.1) }
      let null = roles.role(of: Gate.nullExpert) == .routed ? [(Gate.nullExpert, all)] : []
      for (id, places) in null + acts {
        guard let score = constantScore(of: id, roles) else { continue }
        for place in places { table[place, default: []].append((id, score, [])) }
      }
    }
    return GateRouting(
      gate: gate, always: always,
      places: table.mapValues { rows in
        let sorted = rows.sorted { $0.expert < $1.expert }
        return GateRouting.Place(
          experts: sorted.map(\.expert), scores: gate.isLearned ? [] : sorted.map(\.score),
          rows: gate.isLearned ? sorted.map(\.row) : [])
      })
  }

  private func constantScore(of expert: Bits128, _ roles: GateRoles) -> Double? {
    if case .constant(.uniform) = gate.score { return 0 }
    return roles.weight(of: expert)
  }
}

extension GateRouting {
  /// The gate on the experts without one: its share goes to the others where a normaliser shares out.
  public func removing(_ expert: Bits128) -> GateRouting {
    var copy = GateRouting(gate, always: always.filter { $0 != expert })
    copy.places = places.mapValues { place in
      let kept = place.experts.indices.filter { place.experts[$0] != expert }
      return Place(
        experts: kept.map { place.experts[$0] },
        scores: place.scores.isEmpty ? [] : kept.map { place.scores[$0] },
        rows: place.rows.isEmpty ? [] : kept.map { place.rows[$0] })
    }
    return copy
  }

  /// Every one of these experts alike, for every token.
  public static func uniform(over experts: [Bits128]) -> GateRouting {
    GateRouting(
      constant: experts.map { Gate.Weight(expert: $0, value: 0) }, normaliser: .softmax,
      at: [Gate.globalPlace])
  }

  /// The same numbers at each of the places.
  public init(
    constant weights: [Gate.Weight], normaliser: Gate.Normaliser, scope: Gate.Scope = .global,
    at places: [String]
  ) {
    let sorted = weights.sorted { $0.expert < $1.expert }
    self.init(Gate(.constant(.given(sorted)), scope: scope, normaliser: normaliser))
    for place in places {
      self.places[ByteKey(place)] = Place(experts: sorted.map(\.expert), scores: sorted.map(\.value))
    }
  }
}
