import LMoECore
import LMoEExperts
import LMoEFormat

/// The experts that take part, with their tensors in memory.
struct LoadedExperts: Sendable {
  /// The experts, in the order of the gate's columns.
  let records: [ExpertRecord]
  /// The numbers of those that are trained.
  let trained: Set<Int>
  private let stores: [WeightStore]
  private let path: String

  /// Loads the tensors of `records`; those of `fresh` experts, by name, are not in the bundle.
  init(
    _ records: [ExpertRecord], in bundle: Bundle, on pool: WorkerPool, training trained: Set<Int> = [],
    fresh: [ByteKey: WeightStore] = [:]
  ) throws {
    (self.records, self.trained) = (records, trained)
    path = bundle.path
    let requests = records.compactMap { record in
      record.source.map { WeightStore.Request(bank: $0.bank, entries: Array($0.manifest.tensors)) }
    }
    var loaded = try WeightStore.load(requests, in: bundle, on: pool)[...]
    stores = records.map { record in
      let store = record.source == nil ? fresh[ByteKey(record.name)] : loaded.popFirst()
      return store ?? WeightStore([:])
    }
  }

  /// A tensor of an expert by the name it has after the prefix.
  func tensor(_ expert: Int, _ name: String) throws -> Weight {
    try whole(expert, records[expert].prefix + name)
  }

  /// A tensor of an expert by its full name.
  func whole(_ expert: Int, _ name: String) throws -> Weight {
    guard let weight = stores[expert][name] else {
      throw RuntimeError(
        .invalidExpert, path: path, name: records[expert].name, found: "the tensor \(name) is missing")
    }
    return weight
  }

  /// The factors of an expert of a linear layer.
  private func factors(_ expert: Int, _ module: String) throws -> ExpertFactors {
    let a = try tensor(expert, module + ".lora_A.weight")
    let (plain, transposed) = (module + ".lora_B.weight", module + ".lora_B.transposed")
    if optional(expert, plain) == nil, let b = optional(expert, transposed) {
      return ExpertFactors(a: a, b: b, isTransposed: true)
    }
    return ExpertFactors(a: a, b: try tensor(expert, plain), isTransposed: false)
  }

  private func optional(_ expert: Int, _ name: String) -> Weight? {
    stores[expert][records[expert].prefix + name]
  }

  /// The experts of a linear layer; nil if none adapts it.
  ///
  /// - Parameters:
  ///   - module: The layer's name.
  ///   - weight: W, as it is when deltas are added.
  ///   - compute: What computes the norms that magnitudes are relative to.
  func adapting(_ module: String, _ weight: Weight, overlay: RowOverlay?, _ compute: Compute) throws
    -> LinearExperts?
  {
    var members: [Member] = []
    var total = 0
    // Those that are trained come first, so that they are one run.
    let order = records.indices.sorted {
      (trained.contains($0) ? 0 : 1, $0) < (trained.contains($1) ? 0 : 1, $1)
    }
    for index in order {
      let record = records[index]
      guard let numbers = record.modules[ByteKey(module)], !numbers.isEmbedding else { continue }
      let own = try factors(index, module)
      let scaling = Float(numbers.scaling)
      var rescaling: Weight?
      if numbers.isDoRA {
        let magnitudes = try tensor(index, module + ".lora_magnitude_vector").floats
        let norms = DoRA.rowNorms(weight, overlay, own, scaling: scaling, compute)
        rescaling = .vector(zip(magnitudes, norms).map { DoRA.rescaling($0, $1) })
      }
      members.append(
        Member(
          expert: index, ranks: total..<total + own.rank, scaling: scaling, rescaling: rescaling, factors: own
        ))
      total += own.rank
    }
    guard let first = members.first else { return nil }
    if trained.contains(first.expert) { return try trainable(module, members) }
    let factors = members.map(\.factors)
    let rescalings = members.map(\.rescaling)
    let rescales = rescalings.contains { $0 != nil }
    return Member.experts(
      members, a: factors.stackA, b: rescales ? FactorStack(factors.floatsB(rescalings)) : factors.stackB)
  }

  /// An expert of a linear layer, with its factors as they are stored.
  private struct Member {
    let expert: Int
    let ranks: Range<Int>
    let scaling: Float
    let rescaling: Weight?
    let factors: ExpertFactors

    /// The experts of a layer, with their factors in the stacks where these are there from the beginning.
    static func experts(
      _ members: [Member], a: FactorStack, b: FactorStack, trained: TrainedFactors? = nil
    ) -> LinearExperts {
      let (down, up) = (a.plan == nil ? a.whole : nil, b.plan == nil ? b.whole : nil)
      return LinearExperts(
        slots: members.map { member in
          let (own, ranks) = (member.factors, member.ranks)
          return LinearExperts.Slot(
            expert: member.expert, ranks: ranks, scaling: member.scaling, rescaling: member.rescaling,
            factors: ExpertFactors(
              a: down?[ranks] ?? own.a, b: up?[ranks] ?? own.b, isTransposed: up != nil || own.isTransposed))
        }, a: a, b: b, trained: trained)
    }
  }

  /// The same with factors as float32 in memory of their own, which an optimizer can change.
  private func trainable(_ module: String, _ members: [Member]) throws -> LinearExperts {
    let factors = members.map(\.factors)
    let down = factors.floatsA
    let up = factors.floatsB(members.map(\.rescaling))
    let own = members.prefix { trained.contains($0.expert) }
    let ranks = own.last?.ranks.upperBound ?? 0
    let rescales = own.contains { $0.rescaling != nil }
    let b = rescales ? Array(factors.prefix(own.count)).floatsB([]) : up
    var magnitudes: [Int: Parameter] = [:]
    var norms: [Int: Weight] = [:]
    for (index, member) in own.enumerated() where member.rescaling != nil {
      let name = records[member.expert].name
      let values = try tensor(member.expert, module + ".lora_magnitude_vector").floats
      magnitudes[index] = Parameter("\(module).magnitude/\(name)", .magnitude, .vector(values))
      norms[index] = .vector(values)
    }
    return Member.experts(
      members, a: FactorStack(down), b: FactorStack(up),
      trained: TrainedFactors(
        ranks: ranks, a: Parameter(module + ".A", .a, down, rows: ranks),
        b: Parameter(module + ".B", .b, b, rows: ranks), magnitudes: magnitudes, norms: norms))
  }
}
