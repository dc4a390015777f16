import LMoECore
public import LMoEExperts
import LMoEFormat

/// Finds out on texts what the experts of a bundle are worth: how much a gate uses them, how much they add where it
/// does, and what texts cost without each of them.
///
/// One thread at a time uses it.
public final class ExpertCalibration {
  private let base: LoadedBase
  private let routing: GateRouting
  private let records: [ExpertRecord]
  private let loaded: LoadedExperts
  private let hasNull: Bool
  /// The gate's name; nil where the bundle has none, and all experts weigh the same.
  public let gateName: String?

  /// Loads the experts that take part.
  ///
  /// - Parameters:
  ///   - gate: The gate that weighs them; nil for the bundle's own.
  /// - Throws: `RuntimeError` with `no-such-gate`, `no-experts` or `not-mixable`; `ExpertError`, `FormatError`.
  public init(_ base: LoadedBase, gate: String? = nil) throws {
    self.base = base
    let bundle = base.bundle
    let banks = bundle.banks(ofKind: "expert")
    guard !banks.isEmpty else { throw RuntimeError(.noExperts, path: bundle.path) }
    if let gate, bundle.root.bank("gate/" + gate) == nil {
      throw RuntimeError(
        .noSuchGate, path: bundle.path, name: gate,
        expected: closestName(to: gate, among: bundle.banks(ofKind: "gate").map(\.shortName)),
        found: bundle.gateNames)
    }
    let stored = try gate.map { try bundle.gate(named: $0) } ?? bundle.defaultGate()
    gateName = stored?.name
    routing = try stored?.routing(on: base.pool) ?? GateRouting.uniform(over: banks.map(\.id))
    let members = Set(routing.always + routing.places.values.flatMap(\.experts))
    records = try banks.filter { members.contains($0.id) }.map {
      try Mixture.mixable(ExpertRecord($0.shortName, in: bundle, base: base.description), bundle)
    }
    hasNull = members.contains(Gate.nullExpert)
    loaded = try LoadedExperts(records, in: bundle, on: base.pool)
  }

  /// The experts that take part, whose loss has to be measured one by one.
  public var participantCount: Int { records.count }

  /// Runs texts.
  ///
  /// - Parameters:
  ///   - samples: The texts.
  ///   - context: The longest part that goes through at once.
  ///   - findsLosses: Whether they are run without each of the experts, too.
  ///   - progress: Called with the number of tokens that went through.
  /// - Throws: `RuntimeError`; what making the model throws.
  public func run(
    _ samples: [Evaluation.Sample], context: Int, findsLosses: Bool, progress: (Int) -> Void = { _ in }
  ) throws -> ExpertStatistics {
    let model = try model(routing)
    let deltas = DeltaRecorder(columnCount: model.gateColumns.count)
    let recorder = RoutingRecorder(columns: model.gateColumns, keepsTokens: false, deltas: deltas)
    var tokens = 0
    let whole = try Evaluation.of(samples, by: model, context: context, recorder: recorder) { count in
      tokens += count
      progress(count)
    }
    var changes: [Bits128: Double] = [:]
    if findsLosses {
      for record in records {
        let without = try self.model(routing.removing(record.id))
        let result = try Evaluation.of(samples, by: without, context: context, progress: progress)
        changes[record.id] = result.natsPerToken - whole.natsPerToken
      }
    }
    let total = recorder.uses.reduce(0, +)
    func share(_ column: Int) -> Double { total > 0 ? recorder.uses[column] / total : 0 }
    let places = Dictionary(
      records.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
    return ExpertStatistics(
      experts: base.bundle.banks(ofKind: "expert").map { bank in
        guard let column = places[bank.id] else {
          return ExpertStatistics.Expert(
            id: bank.id, name: bank.shortName, takesPart: false, use: 0, saliency: 0,
            lossChange: findsLosses ? 0 : nil)
        }
        return ExpertStatistics.Expert(
          id: bank.id, name: bank.shortName, isAlwaysOn: routing.always.contains(bank.id), use: share(column),
          saliency: deltas.saliency(of: column), lossChange: changes[bank.id])
      },
      nullUse: hasNull ? share(records.count) : nil, tokens: tokens, nats: whole.natsPerToken)
  }

  private func model(_ routing: GateRouting) throws -> Model {
    let mixture = Mixture.routed(
      records, routing, hasNull: hasNull, name: gateName ?? Gate.defaultName, base.bundle.path)
    return try Model(
      base, selection: gateName.map { .gate($0) } ?? .uniform, mixture: mixture, experts: loaded,
      compute: Compute(pool: base.pool))
  }
}
