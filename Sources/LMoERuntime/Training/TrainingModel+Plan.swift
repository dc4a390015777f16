import LMoECore
import LMoEExperts
import LMoEFormat

extension TrainingModel {
  /// Puts together the model that a plan asks for.
  ///
  /// - Throws: `RuntimeError` for experts that cannot be mixed or gates that cannot be trained; `ExpertError`,
  ///   `FormatError`.
  public convenience init(_ plan: TrainingPlan, on base: LoadedBase) throws {
    let compute = Compute(pool: base.pool)
    let assembly = try TrainingAssembly(plan, on: base)
    let mixture = assembly.mixture
    let trained = Set(
      mixture.records.indices.filter { index in
        let name = mixture.records[index].name
        return (plan.experts + plan.newExperts.map(\.name)).contains { $0.hasSameBytes(as: name) }
      })
    let experts = try LoadedExperts(
      mixture.records, in: base.bundle, on: base.pool, training: trained, fresh: assembly.fresh)
    let model = try Model(
      base, selection: assembly.selection, mixture: mixture, experts: experts, compute: compute)
    self.init(model, trainsGate: plan.trainsGate, recomputes: plan.recomputes)
    routing = assembly.routing
    prefixes = Dictionary(
      mixture.records.map { (ByteKey($0.name), $0.prefix) }, uniquingKeysWith: { first, _ in first })
    refresh()
  }
}

/// The experts and the gate of a plan, looked up or begun anew.
struct TrainingAssembly {
  let mixture: Mixture
  /// What the model is called; new experts and gates have no selection that would find them in the bundle.
  let selection: Selection
  /// The tensors of new experts, by name.
  let fresh: [ByteKey: WeightStore]
  /// The gate as it begins; nil for fixed weights.
  let routing: GateRouting?

  init(_ plan: TrainingPlan, on base: LoadedBase) throws {
    let bundle = base.bundle
    let begun = plan.newExperts.map { Self.record($0) }
    fresh = Dictionary(
      uniqueKeysWithValues: plan.newExperts.map { (ByteKey($0.name), Self.tensors($0, seed: plan.seed)) })
    func all() throws -> [ExpertRecord] {
      let names =
        plan.members
        ?? bundle.banks(ofKind: "expert").map(\.shortName).filter { name in
          !begun.contains { $0.name.hasSameBytes(as: name) }
        }
      return try names.map {
        try Mixture.mixable(ExpertRecord($0, in: bundle, base: base.description), bundle)
      } + begun
    }
    switch plan.decider {
    case .expert(let name):
      let record =
        try begun.first { $0.name.hasSameBytes(as: name) }
        ?? Mixture.mixable(ExpertRecord(name, in: bundle, base: base.description), bundle)
      mixture = Mixture([record], MixtureGate(constant: [1]), columns: [record.name])
      (selection, routing) = (.weights([Selection.WeightedExpert(name, 1)]), nil)
    case .uniform:
      let records = try all()
      guard !records.isEmpty else { throw RuntimeError(.noExperts, path: bundle.path) }
      let weight = 1 / Float(records.count)
      mixture = Mixture(
        records, MixtureGate(constant: records.map { _ in weight }), columns: records.map(\.name))
      (selection, routing) = (.uniform, nil)
    case .gate(let name):
      let known = try Mixture(.gate(name), of: base)
      guard let old = known.gate?.stored else { throw RuntimeError(.noExperts, path: bundle.path) }
      // A run that goes on after it was published finds its own experts there.
      let records = known.records.filter { record in !begun.contains { $0.id == record.id } }
      let grown = Self.grow(old, begun, plan.seed, base)
      let hasNull = known.columns.last == ""
      mixture = Mixture.routed(records + begun, grown, hasNull: hasNull, name: name, bundle.path)
      (selection, routing) = (.gate(name), grown)
    case .newGate(let name, let gate, let hasNull, let always):
      let records = try all()
      guard !records.isEmpty else { throw RuntimeError(.noExperts, path: bundle.path) }
      let fixed = records.filter { record in always.contains { $0.hasSameBytes(as: record.name) } }
      let routed = records.filter { record in !fixed.contains { $0.id == record.id } }
      var members = gate
      if hasNull || !fixed.isEmpty {
        members.members = .listed(
          (hasNull ? [Gate.Member(expert: Gate.nullExpert)] : [])
            + fixed.map { Gate.Member(expert: $0.id, role: .always) }
            + routed.map { Gate.Member(expert: $0.id) })
      }
      let empty = GateRouting(members, always: fixed.map(\.id))
      let grown = Self.grow(empty, routed, plan.seed, base, hasNull: hasNull)
      mixture = Mixture.routed(records, grown, hasNull: hasNull, name: name, bundle.path)
      (selection, routing) = (.gate(name), grown)
    }
  }

  private static func grow(
    _ routing: GateRouting, _ records: [ExpertRecord], _ seed: UInt64, _ base: LoadedBase,
    hasNull: Bool = false
  ) -> GateRouting {
    let names = base.description.names
    var newcomers = records.map { record in
      GateRouting.Newcomer(
        id: record.id, name: record.name, modules: record.modules.keys.map(\.text).sorted())
    }
    if hasNull {
      newcomers.insert(
        GateRouting.Newcomer(
          id: Gate.nullExpert, name: "", modules: Array(Set(newcomers.flatMap(\.modules))).sorted()), at: 0)
    }
    return routing.adding(
      newcomers, widthOfModule: { names.shape($0 + ".weight")?.last },
      hiddenSize: base.description.model.hiddenSize, seed: seed)
  }

  private static func record(_ expert: NewExpert) -> ExpertRecord {
    let numbers = ModuleGroup.Numbers(rank: expert.rank, alpha: expert.alpha, scaling: expert.scaling)
    return ExpertRecord(
      name: expert.name, id: expert.id,
      modules: Dictionary(uniqueKeysWithValues: expert.modules.map { (ByteKey($0.name), numbers) }))
  }

  /// A uniform in ±1/√inputs, as PEFT draws it (Kaiming with a = √5), and B zero: a new expert changes nothing.
  ///
  /// A depends on the seed, the expert's name and the module: no two experts begin alike, for experts that do and
  /// are weighed alike would stay alike.
  private static func tensors(_ expert: NewExpert, seed: UInt64) -> WeightStore {
    var weights: [ByteKey: Weight] = [:]
    for module in expert.modules {
      let stream = Checksum.hash64(Array("\(expert.name)/\(module.name)".utf8))
      var source = RandomSource(seed: seed ^ stream)
      let bound = 1 / Double(module.inputFeatures).squareRoot()
      weights[ByteKey(module.name + ".lora_A.weight")] = .made(
        rows: expert.rank, columns: module.inputFeatures
      ) { out in
        for row in 0..<out.count {
          for column in 0..<out.width { out[row, column] = Float(bound * (2 * source.uniform() - 1)) }
        }
      }
      weights[ByteKey(module.name + ".lora_B.weight")] = .made(
        rows: module.outputFeatures, columns: expert.rank
      ) { $0.clear() }
    }
    return WeightStore(weights)
  }
}
