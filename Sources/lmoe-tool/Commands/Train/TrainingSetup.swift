import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// Turns options into a run.
struct TrainingSetup {
  private let command: Train
  private let base: LoadedBase
  private var bundle: Bundle { base.bundle }

  init(_ command: Train, _ base: LoadedBase) { (self.command, self.base) = (command, base) }

  /// The run, before its first step.
  ///
  /// - Parameters:
  ///   - members: The experts of the bundle that take part; nil for a run that begins now.
  ///   - newIDs: The ids of experts that a run has begun.
  func run(members: [String]?, newIDs: [ByteKey: Bits128]) throws -> TrainingRun {
    let tokenizer = try Tokenizer(bundle: bundle)
    let coding = try command.texts.coding(tokenizer, base, command.file)
    var streaming = TrainingStream.Settings(context: coding.context)
    (streaming.between, streaming.end) = (coding.between, coding.end)
    (streaming.long, streaming.seed) = (command.texts.long, command.learning.seed)
    streaming.isShuffled = !command.texts.noShuffle
    let stream = try TrainingStream(
      command.texts.sources(command.file), settings: streaming, tokenizer: tokenizer,
      chat: ChatForm(bundle: bundle))
    let plan = try plan(members: members, newIDs: newIDs, stream)
    return try TrainingRun(
      plan, command.learning.settings(context: coding.context), on: base, stream: stream,
      heldOut: command.texts.heldOut(tokenizer, base, coding))
  }

  private func plan(
    members: [String]?, newIDs: [ByteKey: Bits128], _ stream: TrainingStream
  ) throws -> TrainingPlan {
    let target = command.target
    let new = try target.newExpert.map { name in
      if newIDs[ByteKey(name)] == nil, bundle.root.bank("expert/" + name) != nil {
        throw FormatError(.bankExists, path: command.file, bank: "expert/" + name)
      }
      return try NewExpert(
        name, id: newIDs[ByteKey(name)] ?? id(of: name, stream), rank: target.rank,
        alpha: target.alpha ?? 2 * Double(target.rank),
        isRankStabilised: target.rsLora, targets: words(target.targets), on: base.description)
    }
    let trainsGate = command.train != .experts
    let decider = try decider(trainsGate: trainsGate, new)
    let known =
      members
      ?? bundle.banks(ofKind: "expert").map(\.shortName).filter { name in
        !new.contains { $0.name.hasSameBytes(as: name) }
      }
    var plan = TrainingPlan(
      decider, trainsGate: trainsGate, newExperts: new, seed: command.learning.seed)
    plan.recomputes = command.learning.recompute
    plan.members = known
    if command.train != .gate {
      plan.experts =
        target.expert.isEmpty && new.isEmpty
        ? try participants(decider, known) : target.expert
      for name in target.expert where bundle.root.bank("expert/" + name) == nil {
        throw RuntimeError(
          .noSuchExpert, path: command.file, name: name,
          expected: closestName(to: name, among: known), found: bundle.expertNames)
      }
    }
    return plan
  }

  /// The id of a new expert, from all that makes it: the same command on the same files gives the same expert, bit
  /// for bit, for gates take their members in the order of ids.
  private func id(of name: String, _ stream: TrainingStream) -> Bits128 {
    let parts = [
      "expert", name, bundle.header.fileUUID.description, "\(bundle.root.generation)",
      stream.cursor.json.serialized(),
    ]
    let words = Train.words.filter { !$0.hasSameBytes(as: command.file) }
    return Checksum.hash128(Array((parts + words).joined(separator: "\u{0}").utf8))
  }

  /// The names of the bundle's experts that take part.
  private func participants(_ decider: TrainingPlan.Decider, _ known: [String]) throws -> [String] {
    switch decider {
    case .expert(let name): return known.filter { $0.hasSameBytes(as: name) }
    case .uniform, .newGate: return known
    case .gate(let name):
      let status = try bundle.gate(named: name).status
      let taking = status.experts.filter {
        $0.standing == .aware || $0.standing == .partly || $0.standing == .always
      }
      return known.filter { name in taking.contains { $0.name.map { $0.hasSameBytes(as: name) } ?? false } }
    }
  }

  private func decider(trainsGate: Bool, _ new: [NewExpert]) throws -> TrainingPlan.Decider {
    let target = command.target
    if target.alone { return .expert((target.expert + target.newExpert)[0]) }
    if target.uniform { return .uniform }
    func begin(_ name: String) -> TrainingPlan.Decider {
      .newGate(name, target.begun, hasNull: target.null, always: target.always)
    }
    if target.newGate != nil { return begin(target.gate ?? Gate.defaultName) }
    if let name = target.gate, bundle.root.bank("gate/" + name) == nil {
      throw RuntimeError(
        .noSuchGate, path: command.file, name: name,
        expected: closestName(to: name, among: bundle.banks(ofKind: "gate").map(\.shortName)),
        found: bundle.gateNames)
    }
    guard let stored = try target.gate.map({ try bundle.gate(named: $0) }) ?? bundle.defaultGate() else {
      return trainsGate ? begin(Gate.defaultName) : .uniform
    }
    if !trainsGate || stored.gate.isLearned { return .gate(stored.name) }
    if case .constant(.given) = stored.gate.score { return .gate(stored.name) }
    let name = target.gate ?? Gate.defaultName
    note(
      command.file,
      [
        "gate/\(stored.name) weighs all experts alike and has nothing to train; gate/\(name) is begun, a linear one"
      ])
    return begin(name)
  }

  private func words(_ list: String) -> [String] {
    list.utf8.split(separator: UInt8(ascii: ",")).map { String(decoding: $0, as: UTF8.self) }
  }
}

extension TrainingSession {
  /// The first line of the metrics file.
  var description: RunMetrics {
    let model = run.model
    let sizes = model.expertSizes
    return RunMetrics(
      time: formatted(nanoseconds: currentNanoseconds()), bundle: command.file,
      trains: RunMetrics.Part(rawValue: command.train.rawValue) ?? .both,
      experts: model.model.experts.map { name in
        RunMetrics.Expert(
          name: name, rank: sizes[ByteKey(name)]?.rank ?? 0,
          parameters: sizes[ByteKey(name)]?.parameters ?? 0,
          isNew: run.plan.newExperts.contains { $0.name.hasSameBytes(as: name) },
          isTrained: (run.plan.experts + run.plan.newExperts.map(\.name)).contains {
            $0.hasSameBytes(as: name)
          })
      },
      gate: gateMetrics, domains: run.heldOut?.groups.map(\.domain) ?? run.stream.domains,
      columns: model.model.gateColumns, places: run.places,
      options: words.isEmpty ? [] : [RunMetrics.Option("arguments", .string(words.joined(separator: " ")))],
      steps: run.totalSteps)
  }

  private var gateMetrics: RunMetrics.Gate? {
    guard let gate = run.model.gateInUse else { return nil }
    let name: String
    let isNew: Bool
    switch run.plan.decider {
    case .gate(let gate): (name, isNew) = (gate, false)
    case .newGate(let gate, _, _, _): (name, isNew) = (gate, true)
    case .uniform, .expert: return nil
    }
    let card = gate.card()
    return RunMetrics.Gate(
      name: name, score: card["score"]?.string ?? "", scope: gate.scope.rawValue,
      normaliser: card["normaliser"]?.string ?? "", k: gate.normaliser.k, temperature: gate.temperature,
      parameters: run.model.gateParameterCount, isTrained: run.plan.trainsGate, isNew: isNew)
  }
}
