public import LMoECore
public import LMoEFormat

/// A gate on its way into a bundle: made without training, or trained.
public struct NewGate: Sendable {
  /// What it is.
  public let gate: Gate
  /// The rows of a learned gate.
  public let rows: Gate.Rows
  /// How it was made, as its card will have it.
  public let provenance: JSON
  /// What the user should know.
  public let notes: [String]

  /// Makes it of its parts.
  ///
  /// - Parameters:
  ///   - gate: What it is.
  ///   - rows: The rows of a learned gate.
  ///   - initialiser: What made it, for its card.
  ///   - facts: What else its card says of how it was made.
  ///   - notes: What the user should know.
  public init(
    _ gate: Gate, rows: Gate.Rows = [:], initialiser: String, facts: [(String, JSON)] = [],
    notes: [String] = []
  ) {
    (self.gate, self.rows, self.notes) = (gate, rows, notes)
    provenance = .object(
      [("initialiser", .string(initialiser))] + facts
        + [("made_ns", .integer(currentNanoseconds())), ("tool", .string(toolName))])
  }

  init(_ gate: Gate, rows: Gate.Rows, provenance: JSON, notes: [String]) {
    (self.gate, self.rows, self.provenance, self.notes) = (gate, rows, provenance, notes)
  }

  /// The number of its rows.
  public var rowCount: Int { rows.reduce(0) { $0 + $1.value.count } }

  /// Its tensors, as the registry names them.
  func entries(path: String) throws(ExpertError) -> [NewEntry] {
    var entries: [NewEntry] = []
    entries.reserveCapacity(rowCount)
    for (place, experts) in rows {
      for (expert, values) in experts {
        guard let count = UInt64(exactly: values.count), values.allSatisfy(\.isFinite),
          let type = TensorType(dtype: .f32, shape: [count])
        else {
          throw ExpertError(
            .nonFinite, path: path, name: "\(expert)/\(place.text)",
            found: "\(values.firstIndex { !$0.isFinite } ?? 0)")
        }
        let bytes = values.flatMap { value in
          (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
        }
        entries.append(
          NewEntry(tensor: "\(expert)/\(place.text)", type: type, source: MemorySource(bytes)))
      }
    }
    return entries
  }
}

extension BundleWriter {
  /// Adds a gate as the bank `gate/<name>`.
  ///
  /// - Parameters:
  ///   - gate: The gate.
  ///   - name: Its name.
  ///   - replaces: Whether a gate of that name gives way to it; it gets an id of its own all the same.
  /// - Throws: `ExpertError` with `invalid-name` or `gate-exists`, `FormatError`.
  @discardableResult public func addGate(
    _ gate: NewGate, named name: String, replaces: Bool = false
  ) throws -> BankEntry {
    try requireGateName(name)
    let full = "gate/" + name
    if banks.contains(where: { $0.name.hasSameBytes(as: full) }) {
      guard replaces else { throw ExpertError(.gateExists, path: path, name: name) }
      try removeBank(full)
    }
    return try addBank(
      full, card: gate.gate.card(provenance: gate.provenance), entries: try gate.entries(path: path))
  }
}

/// Makes sure that `name` can be typed, as the name of an expert.
///
/// - Throws: `ExpertError` with `invalid-name`.
public func requireGateName(_ name: String) throws {
  do { try requireExpertName(name) } catch let error as ExpertError {
    throw ExpertError(error.code, path: error.path, name: error.name, expected: "a gate")
  }
}

extension Bundle {
  /// The members of a gate that routes every expert but some.
  ///
  /// - Parameters:
  ///   - always: The names of experts that are on with weight 1.
  ///   - hasNull: Whether the bare base is a choice.
  /// - Returns: `all`, if nothing has to be listed.
  /// - Throws: `no-such-bank`.
  public func gateMembers(always: [String] = [], hasNull: Bool = false) throws -> Gate.Members {
    let fixed = Set(try always.map { try bank("expert/" + $0).id })
    guard hasNull || !fixed.isEmpty else { return .all }
    let ids = banks(ofKind: "expert").map(\.id).sorted()
    let null = hasNull ? [Gate.Member(expert: Gate.nullExpert)] : []
    return .listed(
      null + ids.map { Gate.Member(expert: $0, role: fixed.contains($0) ? .always : .routed) })
  }

  /// How many experts of the bundle a gate with these members routes, the null expert among them.
  public func routedCount(of members: Gate.Members) -> Int {
    let ids = Set(banks(ofKind: "expert").map(\.id))
    guard case .listed(let members) = members else { return ids.count }
    return members.count { $0.role == .routed && ($0.expert == Gate.nullExpert || ids.contains($0.expert)) }
  }
}
