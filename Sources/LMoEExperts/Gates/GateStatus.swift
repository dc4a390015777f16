public import LMoECore

/// Who a gate knows, of the experts of its bundle and of those that are gone.
public struct GateStatus: Hashable, Sendable {
  /// What a gate knows of an expert.
  public enum Standing: String, Hashable, Sendable {
    /// It is always on.
    case always
    /// It takes part everywhere where it acts.
    case aware
    /// It takes part at some of the places where it acts, and has weight 0 at the others.
    case partly
    /// It has weight 0: a learned gate without rows for it, a gate that does not list it.
    case unaware
    /// The gate lists it, or has rows for it, and the bundle has no such expert.
    case gone
  }

  /// An expert, as a gate sees it.
  public struct Expert: Hashable, Sendable {
    /// Its id.
    public let id: Bits128
    /// Its name; nil for the null expert and for one that is gone.
    public let name: String?
    /// What the gate knows of it.
    public let standing: Standing
    /// Its number in a constant gate with given weights.
    public let weight: Double?
    /// Rows at places where it acts.
    public let rowCount: Int
    /// Places where it acts; nil where that is not known, or of no consequence.
    public let placeCount: Int?
  }

  /// The null expert first, if it takes part, then the bundle's in the order of their ids, then those gone.
  public let experts: [Expert]

  /// The names of experts that have weight 0 at some place or everywhere.
  public var unaware: [String] {
    experts.filter { $0.standing == .unaware || $0.standing == .partly }.compactMap(\.name)
  }

  /// The experts that the gate speaks of and the bundle has no more.
  public var gone: [Bits128] { experts.filter { $0.standing == .gone }.map(\.id) }
}

extension StoredGate {
  /// Who it knows.
  ///
  /// - Throws: What reading the experts' cards throws.
  public var status: GateStatus {
    get throws {
      let places = try ExpertPlaces(bundle)
      let roles = GateRoles(gate)
      let rows = Dictionary(grouping: rows, by: \.expert).mapValues { Set($0.map(\.place)) }
      var experts: [GateStatus.Expert] = []
      if roles.role(of: Gate.nullExpert) != nil {
        let found = rows[Gate.nullExpert] ?? []
        experts.append(
          expert(Gate.nullExpert, nil, roles, rows: found, places: gate.isLearned ? found : nil))
      }
      experts += places.experts.map {
        expert($0.id, $0.name, roles, rows: rows[$0.id] ?? [], places: $0.places(in: gate))
      }
      let spoken = Set(rows.keys).union(roles.listed)
      for id in spoken.sorted() where id != Gate.nullExpert && places[id] == nil {
        experts.append(
          GateStatus.Expert(
            id: id, name: nil, standing: .gone, weight: roles.weight(of: id),
            rowCount: rows[id]?.count ?? 0, placeCount: nil))
      }
      return GateStatus(experts: experts)
    }
  }

  private func expert(
    _ id: Bits128, _ name: String?, _ roles: GateRoles, rows: Set<ByteKey>, places: Set<ByteKey>?
  ) -> GateStatus.Expert {
    let found = places.map { rows.intersection($0).count } ?? rows.count
    let standing: GateStatus.Standing =
      switch (roles.role(of: id), gate.score) {
      case (nil, _): .unaware
      case (.always?, _): .always
      case (.routed?, .constant(.uniform)): .aware
      case (.routed?, .constant(.given)): roles.weight(of: id) == nil ? .unaware : .aware
      case (.routed?, _):
        found == 0 && places?.isEmpty != true ? .unaware : found < (places?.count ?? found) ? .partly : .aware
      }
    return GateStatus.Expert(
      id: id, name: name, standing: standing, weight: roles.weight(of: id), rowCount: found,
      placeCount: gate.isLearned ? places?.count : nil)
  }
}
