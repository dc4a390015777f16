import LMoECore
import LMoEFormat

/// The places where a learned gate gets rows, and for whom.
struct GatePlaces {
  /// A place, the width of what the gate sees there, and the experts that get a row.
  struct Place {
    let name: ByteKey
    let width: Int
    let experts: [ExpertPlaces.Expert]
  }

  /// The places, by name.
  let places: [Place]
  /// Whether the null expert gets a row at each.
  let hasNull: Bool
  /// What the user should know.
  let notes: [String]

  /// Finds the places of `gate` in `bundle`.
  ///
  /// - Throws: `ExpertError` with `no-base`, or what reading the cards throws.
  init(_ gate: Gate, in bundle: Bundle) throws {
    let table = GateTable(gate, base: try BaseShapes(bundle), name: "", path: bundle.path)
    let roles = GateRoles(gate)
    hasNull = roles.role(of: Gate.nullExpert) == .routed
    var experts: [ByteKey: [ExpertPlaces.Expert]] = [:]
    var notes: [String] = []
    for expert in try ExpertPlaces(bundle).experts where roles.role(of: expert.id) == .routed {
      let places = expert.places(in: gate) ?? []
      if places.isEmpty {
        notes.append("expert/\(expert.name) changes no linear layer that this gate could decide for")
      }
      for place in places { experts[place, default: []].append(expert) }
    }
    let wide = experts.sorted { $0.key < $1.key }.map { ($0.key, table.width(at: $0.key.text), $0.value) }
    places = wide.compactMap { name, width, experts in
      width.map { Place(name: name, width: $0, experts: experts) }
    }
    if places.count < wide.count {
      notes.append(
        "\(wide.count - places.count) places are of layers that the base does not have, and get no rows")
    }
    self.notes = notes
  }
}
