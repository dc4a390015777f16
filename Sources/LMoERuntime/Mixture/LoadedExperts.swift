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
  /// Factors that are stacked already, by the layer's name.
  private var stacks: [ByteKey: (down: Weight?, up: Weight?)] = [:]
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
    if trained.isEmpty { stack(on: pool) }
  }

  /// Stacks the factors of all layers at once, as far as that takes no more than moving them.
  private mutating func stack(on pool: WorkerPool) {
    var modules: [ByteKey: [ExpertFactors]] = [:]
    var rescaled: Set<ByteKey> = []
    for (index, record) in records.enumerated() {
      for (module, numbers) in record.modules where !numbers.isEmbedding {
        if numbers.isDoRA { rescaled.insert(module) }
        // What is missing is told when the layer is made.
        if let own = try? factors(index, module.text) { modules[module, default: []].append(own) }
      }
    }
    var plans: [StackPlan] = []
    var places: [(module: ByteKey, down: Int?, up: Int?)] = []
    for (module, factors) in modules.sorted(by: { $0.key < $1.key }) {
      func place(_ plan: StackPlan?) -> Int? {
        guard let plan else { return nil }
        plans.append(plan)
        return plans.count - 1
      }
      places.append((module, place(factors.planA), rescaled.contains(module) ? nil : place(factors.planB)))
    }
    let made = StackPlan.made(plans, on: pool)
    for place in places { stacks[place.module] = (place.down.map { made[$0] }, place.up.map { made[$0] }) }
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

  /// Stacks the factors of a linear layer; nil if no expert adapts it.
  ///
  /// - Parameters:
  ///   - module: The layer's name.
  ///   - weight: W, as it is when deltas are added.
  ///   - compute: What computes the norms that magnitudes are relative to.
  func stacked(_ module: String, on weight: Weight, overlay: RowOverlay?, _ compute: Compute) throws
    -> StackedExperts?
  {
    var slots: [StackedExperts.Slot] = []
    var factors: [ExpertFactors] = []
    var total = 0
    // Those that are trained come first, so that they are one run.
    let order = records.indices.sorted {
      (trained.contains($0) ? 0 : 1, $0) < (trained.contains($1) ? 0 : 1, $1)
    }
    for index in order {
      let record = records[index]
      guard let numbers = record.modules[ByteKey(module)], !numbers.isEmbedding else { continue }
      let own = try self.factors(index, module)
      let scaling = Float(numbers.scaling)
      var rescaling: Weight?
      if numbers.isDoRA {
        let magnitudes = try tensor(index, module + ".lora_magnitude_vector").floats
        let norms = DoRA.rowNorms(weight, overlay, own, scaling: scaling, compute)
        rescaling = .vector(zip(magnitudes, norms).map { DoRA.rescaling($0, $1) })
      }
      slots.append(
        StackedExperts.Slot(
          expert: index, ranks: total..<total + own.rank, scaling: scaling, rescaling: rescaling))
      factors.append(own)
      total += own.rank
    }
    guard !slots.isEmpty else { return nil }
    let rescales = slots.contains { $0.rescaling != nil }
    if trained.contains(slots[0].expert) { return try trainable(module, slots, factors) }
    let ready = stacks[ByteKey(module)]
    return StackedExperts(
      slots: slots, down: ready?.down ?? factors.stackedA,
      up: rescales ? factors.stackedB(slots) : ready?.up ?? factors.stackedB)
  }

  /// The same with factors as float32 in memory of their own, which an optimizer can change.
  private func trainable(
    _ module: String, _ slots: [StackedExperts.Slot], _ factors: [ExpertFactors]
  ) throws -> StackedExperts {
    let down = factors.stackedFloatsA
    let up = factors.stackedB(slots)
    let own = slots.prefix { trained.contains($0.expert) }
    let ranks = own.last?.ranks.upperBound ?? 0
    let rescales = own.contains { $0.rescaling != nil }
    let b = rescales ? Array(factors.prefix(own.count)).stackedB([]) : up
    var magnitudes: [Int: Parameter] = [:]
    var norms: [Int: Weight] = [:]
    for (index, slot) in own.enumerated() where slot.rescaling != nil {
      let name = records[slot.expert].name
      let values = try tensor(slot.expert, module + ".lora_magnitude_vector").floats
      magnitudes[index] = Parameter("\(module).magnitude/\(name)", .magnitude, .vector(values))
      norms[index] = .vector(values)
    }
    return StackedExperts(
      slots: slots, down: down, up: up,
      trained: TrainedFactors(
        ranks: ranks, a: Parameter(module + ".A", .a, down, rows: ranks),
        b: Parameter(module + ".B", .b, b, rows: ranks), magnitudes: magnitudes, norms: norms))
  }
}
