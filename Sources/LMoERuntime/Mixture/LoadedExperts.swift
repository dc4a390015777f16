private import CLMoEKernels
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
    stores = try records.map { record in
      guard let source = record.source else { return fresh[ByteKey(record.name)] ?? WeightStore([:]) }
      return try WeightStore.load(Array(source.manifest.tensors), of: source.bank, in: bundle, on: pool)
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

  /// B of a linear layer: out × rank, as it is, or the transpose of what a quantized one is.
  private func factorB(_ expert: Int, _ module: String) throws -> Weight {
    let prefix = records[expert].prefix + module
    guard stores[expert][prefix + ".lora_B.weight"] == nil,
      let stored = stores[expert][prefix + ".lora_B.transposed"]
    else { return try tensor(expert, module + ".lora_B.weight") }
    let values = stored.floats
    return .made(rows: stored.columns, columns: stored.rows) { out in
      for rank in 0..<stored.rows {
        for row in 0..<stored.columns { out[row, rank] = values[rank * stored.columns + row] }
      }
    }
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
    var factors: [(a: Weight, b: Weight)] = []
    var total = 0
    // Those that are trained come first, so that they are one run.
    let order = records.indices.sorted {
      (trained.contains($0) ? 0 : 1, $0) < (trained.contains($1) ? 0 : 1, $1)
    }
    for index in order {
      let record = records[index]
      guard let numbers = record.modules[ByteKey(module)], !numbers.isEmbedding else { continue }
      let a = try tensor(index, module + ".lora_A.weight")
      let b = try factorB(index, module)
      let scaling = Float(numbers.scaling)
      var rescaling: Weight?
      if numbers.isDoRA {
        let magnitudes = try tensor(index, module + ".lora_magnitude_vector").floats
        let norms = DoRA.rowNorms(weight, overlay, b: b, a: a, scaling: scaling, compute)
        rescaling = .vector(zip(magnitudes, norms).map { DoRA.rescaling($0, $1) })
      }
      slots.append(
        StackedExperts.Slot(
          expert: index, ranks: total..<total + a.rows, scaling: scaling, rescaling: rescaling))
      factors.append((a, b))
      total += a.rows
    }
    guard !slots.isEmpty else { return nil }
    let rescales = slots.contains { $0.rescaling != nil }
    if trained.contains(slots[0].expert) { return try trainable(module, slots, factors) }
    return StackedExperts(
      slots: slots, down: Self.stacked(factors.map(\.a)),
      up: rescales ? Self.rescaled(factors.map(\.b), slots) : Self.transposed(factors.map(\.b)))
  }

  /// The same with factors as float32 in memory of their own, which an optimizer can change.
  private func trainable(
    _ module: String, _ slots: [StackedExperts.Slot], _ factors: [(a: Weight, b: Weight)]
  ) throws -> StackedExperts {
    let down = Self.stackedFloats(factors.map(\.a))
    let up = Self.rescaled(factors.map(\.b), slots)
    let own = slots.prefix { trained.contains($0.expert) }
    let ranks = own.last?.ranks.upperBound ?? 0
    let rescales = own.contains { $0.rescaling != nil }
    let b = rescales ? Self.rescaled(factors.prefix(own.count).map(\.b), []) : up
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

  private static func stackedFloats(_ factors: [Weight]) -> Weight {
    Weight.made(rows: factors.reduce(0) { $0 + $1.rows }, columns: factors[0].columns) { out in
      var row = 0
      for factor in factors {
        for index in 0..<factor.rows { unsafe factor.copyRow(index, to: out.row(row + index)) }
        row += factor.rows
      }
    }
  }

  /// [A₁; …; A_E], in their own type if they share one.
  private static func stacked(_ factors: [Weight]) -> Weight {
    let rows = factors.reduce(0) { $0 + $1.rows }
    if factors.count == 1 { return factors[0] }
    guard let kind = commonKind(factors) else { return stackedFloats(factors) }
    let buffer = RawBuffer(count: rows * factors[0].columns * kind.bytes)
    var offset = 0
    for factor in factors {
      let bytes = factor.count * kind.bytes
      unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[offset..<offset + bytes])
        .copyMemory(from: UnsafeRawBufferPointer(start: factor.base, count: bytes))
      offset += bytes
    }
    return unsafe Weight(
      buffer.bytes.baseAddress.unsafelyUnwrapped, kind: kind, rows: rows, columns: factors[0].columns,
      owner: buffer)
  }

  /// [B₁ … B_E]ᵀ, in their own type if they share one.
  private static func transposed(_ factors: [Weight]) -> Weight {
    let ranks = factors.reduce(0) { $0 + $1.columns }
    let outputs = factors[0].rows
    guard let kind = commonKind(factors) else { return rescaled(factors, []) }
    let buffer = RawBuffer(count: ranks * outputs * kind.bytes)
    let base = unsafe buffer.bytes.baseAddress.unsafelyUnwrapped
    var first = 0
    for factor in factors {
      let to = unsafe base + first * outputs * kind.bytes
      switch kind {
      case .f32: unsafe lmoe_transpose_32(factor.base, outputs, factor.columns, to)
      default: unsafe lmoe_transpose_16(factor.base, outputs, factor.columns, to)
      }
      first += factor.columns
    }
    return unsafe Weight(base, kind: kind, rows: ranks, columns: outputs, owner: buffer)
  }

  /// [B₁ … B_E]ᵀ as float32, those with magnitudes times c.
  private static func rescaled(_ factors: [Weight], _ slots: [StackedExperts.Slot]) -> Weight {
    let ranks = factors.reduce(0) { $0 + $1.columns }
    return Weight.made(rows: ranks, columns: factors[0].rows) { out in
      var first = 0
      for (index, factor) in factors.enumerated() {
        let floats = factor.floats
        let rescaling = slots.isEmpty ? nil : slots[index].rescaling?.floats
        for row in 0..<factor.rows {
          let c = 1 + (rescaling?[row] ?? 0)
          for rank in 0..<factor.columns { out[first + rank, row] = floats[row * factor.columns + rank] * c }
        }
        first += factor.columns
      }
    }
  }

  private static func commonKind(_ factors: [Weight]) -> Weight.Kind? {
    factors.allSatisfy { $0.kind == factors[0].kind } ? factors[0].kind : nil
  }
}
