public import LMoECore
public import LMoEFormat

extension NewGate {
  /// A gate that needs no training: at each linear layer an expert's prototype is the direction of inputs that
  /// its s·B·A amplifies most, and its score |x·p|.
  ///
  /// The scaling s and the sign of p change nothing. Of a DoRA expert it is the direction of the low-rank part.
  ///
  /// - Throws: `ExpertError` with `no-base` or `invalid-expert`, or what reading the experts throws.
  public static func arrow(
    in bundle: Bundle, normaliser: Gate.Normaliser, temperature: Double = 1,
    members: Gate.Members = .all, on pool: WorkerPool = .shared
  ) throws -> NewGate {
    let gate = Gate(
      .prototype(.absoluteDot), scope: .module, normaliser: normaliser, temperature: temperature,
      members: members)
    let places = try GatePlaces(gate, in: bundle)
    var rows: Gate.Rows = [:]
    var notes = places.notes
    let experts = Dictionary(
      places.places.flatMap { place in place.experts.map { ($0.id, $0) } },
      uniquingKeysWith: { first, _ in first }
    ).values.sorted { ByteKey($0.name) < ByteKey($1.name) }
    let widths = Dictionary(
      places.places.map { ($0.name, $0.width) }, uniquingKeysWith: { first, _ in first })
    for expert in experts {
      let factors = try ExpertFactors(expert, in: bundle)
      let found = try factors.directions(
        of: (expert.modules ?? []).filter { widths[ByteKey($0)] != nil }, on: pool)
      for (module, direction) in found {
        let place = ByteKey(module)
        guard let width = widths[place] else { continue }
        rows[place, default: [:]][expert.id] = direction ?? [Float](repeating: 0, count: width)
      }
      notes += factors.notes(found.count { $0.direction == nil })
    }
    if places.hasNull {
      for place in places.places {
        rows[place.name, default: [:]][Gate.nullExpert] = [Float](repeating: 0, count: place.width)
      }
    }
    return NewGate(gate, rows: rows, initialiser: "arrow", notes: notes)
  }
}

/// The factors of an expert that is in a bundle.
private struct ExpertFactors {
  /// Elements of factors that are in memory at a time.
  private static let batch = 16 << 20
  /// The largest rank: its Gram matrices have the square of it.
  private static let largestRank = 2048

  private let bundle: Bundle
  private let bank: BankEntry
  private let manifest: Manifest
  private let prefix: String
  private let isDoRA: Bool

  init(_ expert: ExpertPlaces.Expert, in bundle: Bundle) throws {
    self.bundle = bundle
    bank = try bundle.bank("expert/" + expert.name)
    manifest = try bundle.manifest(of: bank)
    let card = try bundle.card(of: bank)
    prefix = card?["prefix"]?.string ?? PEFTTensorName.prefix
    isDoRA = ModuleGroup.groups(ofCard: card)?.contains { $0.numbers.isDoRA } ?? false
  }

  func notes(_ silent: Int) -> [String] {
    var notes: [String] = []
    if silent > 0 {
      notes.append(
        "\(bank.name) changes nothing at \(silent) of its modules, where its prototype is zero")
    }
    if isDoRA {
      notes.append("\(bank.name) is DoRA: its prototypes are those of the low-rank part")
    }
    return notes
  }

  /// The direction of each module; nil for a product that is zero.
  func directions(
    of modules: [String], on pool: WorkerPool
  ) throws -> [(module: String, direction: [Float]?)] {
    let pairs = try modules.map { ($0, try factors($0)) }
    var result: [(module: String, direction: [Float]?)] = []
    var next = 0
    while next < pairs.count {
      var end = next
      var elements = 0
      repeat {
        elements += pairs[end].1.a.type.elementCount + pairs[end].1.b.type.elementCount
        end += 1
      } while end < pairs.count && elements < Self.batch
      let part = pairs[next..<end]
      let values = try bundle.floats(
        of: part.flatMap { [$0.1.a, $0.1.b].map { BankedEntry(bank: bank.name, entry: $0) } }, on: pool)
      let stored = part.map(\.1)
      let found = Guarded([[Float]?](repeating: nil, count: part.count))
      let failed = Guarded<Int?>(nil)
      try OrderedJobs<FormatError>.run(count: part.count, on: pool) { (turn) throws(FormatError) in
        let index = turn.index
        let direction = SingularDirection(
          a: values[2 * index], b: stored[index].plainB(values[2 * index + 1]), rank: stored[index].rank)
        guard direction.isFinite else { return failed.withValue { $0 = min($0 ?? index, index) } }
        let vector = direction.vector()
        found.withValue { $0[index] = vector }
      }
      if let index = failed.withValue({ $0 }) {
        throw ExpertError(
          .invalidExpert, path: "\(bundle.path)#\(bank.shortName)",
          found: "the factors of \(pairs[next + index].0) have values that are not finite")
      }
      result += zip(part.map(\.0), found.withValue { $0 }).map { (module: $0, direction: $1) }
      next = end
    }
    return result
  }

  /// The factors of a module, whose shapes go together.
  private func factors(_ module: String) throws -> StoredFactors {
    guard let factors = StoredFactors(of: module, prefix: prefix, in: manifest),
      factors.rank <= Self.largestRank
    else {
      throw ExpertError(
        .invalidExpert, path: "\(bundle.path)#\(bank.shortName)",
        found: "\(module) has no factors of one rank from 1 to \(Self.largestRank)")
    }
    return factors
  }
}
