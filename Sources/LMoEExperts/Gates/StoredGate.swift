public import LMoECore
public import LMoEFormat

/// A gate that is in a bundle: what it is, and which rows it has.
///
/// Card, names and shapes are checked when it is opened; values are read when they are asked for.
public struct StoredGate: Sendable {
  /// The bundle.
  public let bundle: Bundle
  /// Its bank there.
  public let bank: BankEntry
  /// Its card, with fields that this tool does not know.
  public let card: JSON
  /// What it is.
  public let gate: Gate
  /// Its tensors.
  let rows: [Row]

  /// One tensor of a learned gate: what it says of an expert at a place.
  struct Row: Sendable {
    let expert: Bits128
    let place: ByteKey
    let entry: Entry
  }

  /// The widest input that a row may be for.
  static let largestWidth = 1 << 20

  /// Finds the gate `name` in `bundle`.
  ///
  /// - Throws: `no-such-bank`, `ExpertError` with `invalid-gate` or `unsupported-gate`, or what reading the card
  ///   and the manifest throws.
  public init(_ name: String, in bundle: Bundle) throws {
    try self.init(try bundle.bank("gate/" + name), in: bundle)
  }

  init(_ bank: BankEntry, in bundle: Bundle) throws {
    self.bundle = bundle
    self.bank = bank
    let card = try bundle.card(of: bank) ?? [:]
    let gate = try Gate(card: card, name: bank.shortName, path: bundle.path)
    (self.card, self.gate) = (card, gate)
    let table = GateTable(
      gate,
      // A constant gate has no rows to check, and bases may be large.
      base: gate.isLearned && bundle.root.bank("base") != nil ? try BaseShapes(bundle) : nil,
      name: bank.shortName, path: bundle.path)
    rows = try table.rows(try bundle.manifest(of: bank))
  }

  /// Its name.
  public var name: String { bank.shortName }

  /// The values of the rows that `isWanted`, in the manifest's order.
  ///
  /// - Throws: `ExpertError` with `invalid-gate` for a value that is not finite, `FormatError`.
  func values(
    on pool: WorkerPool = .shared, where isWanted: (Row) -> Bool = { _ in true }
  ) throws -> [(row: Row, values: [Float])] {
    let wanted = rows.filter(isWanted)
    let values = try bundle.floats(
      of: wanted.map { BankedEntry(bank: bank.name, entry: $0.entry) }, on: pool)
    return try zip(wanted, values).map { row, values in
      if let index = values.firstIndex(where: { !$0.isFinite }) {
        throw ExpertError(
          .invalidGate, path: bundle.path, name: name,
          found: "element \(index) of its tensor \"\(row.entry.name)\" is not a finite number")
      }
      return (row, values)
    }
  }

  /// All its rows: the values at each place of each expert, whether the bundle has them or not.
  ///
  /// - Throws: `ExpertError` with `invalid-gate` for a value that is not finite, `FormatError`.
  public func rows(on pool: WorkerPool = .shared) throws -> Gate.Rows {
    var result: Gate.Rows = [:]
    for (row, values) in try values(on: pool) { result[row.place, default: [:]][row.expert] = values }
    return result
  }
}

extension Gate {
  /// The rows of a learned gate: place → expert → values.
  public typealias Rows = [ByteKey: [Bits128: [Float]]]
}

extension Bundle {
  /// The gate of that name.
  ///
  /// - Throws: `no-such-bank`, `ExpertError` with `invalid-gate` or `unsupported-gate`, `FormatError`.
  public func gate(named name: String) throws -> StoredGate { try StoredGate(name, in: self) }

  /// The gate that is meant where none is named: the only one, or else the one called `default`.
  ///
  /// - Returns: nil for a bundle without gates.
  /// - Throws: `ExpertError` with `several-gates`, or what opening it throws.
  public func defaultGate() throws -> StoredGate? {
    let gates = banks(ofKind: "gate")
    guard gates.count > 1 else { return try gates.first.map { try StoredGate($0, in: self) } }
    if let gate = gates.first(where: { $0.shortName.hasSameBytes(as: Gate.defaultName) }) {
      return try StoredGate(gate, in: self)
    }
    throw ExpertError(.severalGates, path: path, found: gates.listed)
  }

  /// The names of its gates, for a sentence.
  public var gateNames: String { banks(ofKind: "gate").listed }
}

extension Gate {
  /// The name of the gate that is meant where a bundle has several and none is named.
  public static let defaultName = "default"
}

extension [BankEntry] {
  /// The first of their names.
  fileprivate var listed: String {
    let more = count > 20 ? " and \(count - 20) more" : ""
    return prefix(20).map(\.shortName).joined(separator: ", ") + more
  }
}
