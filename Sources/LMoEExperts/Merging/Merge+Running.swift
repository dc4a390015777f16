public import LMoECore
import LMoEFormat

extension Merge {
  /// Factors that are read at a time.
  private static let batchBytes = 24 << 20

  /// Merges module by module, in the order of their names.
  ///
  /// - Parameters:
  ///   - progress: Called with the number of modules that are done.
  /// - Throws: `ExpertError` with `non-finite`, `no-linear-algebra` or `linear-algebra`; `FormatError`.
  public func run(
    on pool: WorkerPool = .shared, progress: @Sendable (Int) -> Void = { _ in }
  ) throws -> MergedExpert {
    try LinearAlgebra.require()
    var merged: [MergedModule] = []
    merged.reserveCapacity(modules.count)
    var next = 0
    while next < modules.count {
      var end = next
      var bytes = 0
      repeat {
        bytes += modules[end].bytes
        end += 1
      } while end < modules.count && bytes + modules[end].bytes <= Self.batchBytes
      merged += try run(Array(modules[next..<end]), on: pool)
      progress(end)
      next = end
    }
    // PEFT knows a bias of B for all modules or for none.
    if merged.contains(where: { $0.bias != nil }) {
      for index in merged.indices where !merged[index].isEmbedding { merged[index].fillBias() }
    }
    return MergedExpert(modules: merged, origin: origin)
  }

  /// Reads everything the experts hold, and makes sure that all of it is numbers.
  ///
  /// - Throws: `ExpertError` with `non-finite`, `no-linear-algebra`; `FormatError`.
  func requireNumbers(on pool: WorkerPool) throws {
    if !method.isLinear || method.kind == .slerp || method.kind == .karcher { try LinearAlgebra.require() }
    for input in inputs {
      for module in input.modules.values.sorted(by: { ByteKey($0.name) < ByteKey($1.name) }) {
        let names = [module.a, module.b] + [module.bias, module.magnitude].compactMap(\.self)
        _ = try input.tensors.floats(names, on: pool)
      }
      for replacement in input.replacements { _ = try input.tensors.floats([replacement.with], on: pool) }
    }
  }

  private func run(_ modules: [Module], on pool: WorkerPool) throws -> [MergedModule] {
    let loaded = try load(modules, on: pool)
    let results = Guarded([Result<MergedModule, any Error>?](repeating: nil, count: modules.count))
    // Nothing has to happen in order: a worker with a small module does not wait for one with a large one.
    pool.run(items: loaded.count) { [self] item, _ in
      let result = Result { try merge(loaded[item]) }
      results.withValue { $0[item] = result }
    }
    return try results.withValue { $0 }.compactMap { try $0?.get() }
  }

  private func merge(_ module: LoadedModule) throws -> MergedModule {
    let merged = try MergedModule(module, all: weights, by: method, rank: rank, keys: keys(of: module))
    guard merged.norm.isFinite, merged.residual.isFinite else {
      throw ExpertError(.nonFinite, path: inputs[0].path, name: merged.name, found: "the merged delta")
    }
    return merged
  }

  /// Reads the factors of modules.
  func load(_ modules: [Module], on pool: WorkerPool) throws -> [LoadedModule] {
    var terms = modules.map { _ in [LoadedModule.Term]() }
    for (index, input) in inputs.enumerated() {
      var names: [String] = []
      var places: [(module: Int, source: MergeInput.Module)] = []
      for (place, module) in modules.enumerated() {
        guard let member = module.members.first(where: { $0.input == index }) else { continue }
        places.append((place, member.module))
        names +=
          [member.module.a, member.module.b]
          + [member.module.bias, member.module.magnitude].compactMap(\.self)
      }
      guard !names.isEmpty else { continue }
      var values = try input.tensors.floats(names, on: pool).makeIterator()
      for (place, source) in places {
        let (a, b) = (values.next() ?? [], values.next() ?? [])
        let bias = source.bias.flatMap { _ in values.next() }
        let magnitude = source.magnitude.flatMap { _ in values.next() }
        let product =
          source.isEmbedding
          ? LowRankProduct(
            rank: source.rank, a: b.transposed(columns: source.rank), b: a.transposed(columns: source.rows))
          : LowRankProduct(
            rank: source.rank, a: a, b: source.isTransposedB ? b.transposed(columns: source.rows) : b)
        terms[place].append(
          LoadedModule.Term(
            input: index, weight: (moduleWeights[ByteKey(modules[place].name)] ?? weights)[index],
            scaling: source.scaling, product: product, bias: bias,
            magnitude: magnitude))
      }
    }
    return try zip(modules, terms).map { module, terms in
      let needsBase = terms.contains { $0.magnitude != nil }
      return LoadedModule(
        name: module.name, rows: module.rows, columns: module.columns, isEmbedding: module.isEmbedding,
        terms: terms, base: needsBase ? try base?.floats(ofModule: module.name) : nil)
    }
  }

  /// What random choices follow from: the seed, the module, and what the expert is called; not the order of experts
  /// nor how their deltas are factored.
  func keys(of module: LoadedModule) -> [UInt64] {
    module.terms.map { term in
      let label = inputs[term.input].label
      let twins = inputs[..<term.input].count { $0.label.hasSameBytes(as: label) }
      let text = "\(method.seed)\u{0}\(module.name)\u{0}\(label)\u{0}\(twins)"
      return Checksum.hash64(Array(text.utf8))
    }
  }
}
