import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// `prune --experts`.
struct ExpertPruningRun {
  private let command: Prune
  private let bundle: Bundle
  private let banks: [BankEntry]

  init(_ command: Prune) throws {
    self.command = command
    bundle = try Bundle(path: command.file, options: command.options.read.bundleOptions)
    banks = bundle.banks(ofKind: "expert")
    guard !banks.isEmpty else { throw ExpertError(.noExperts, path: command.file) }
  }

  private var merges: Bool { command.choice.mergeSimilar }
  private var criterion: ExpertReduction.Criterion { command.choice.criterion ?? .similarity }

  func run(leaving count: Int) throws {
    let found = try measure()
    let similarity = found.similarity
    let candidates = candidates(found.statistics)
    let reduction: ExpertReduction
    if criterion == .similarity, let similarity {
      reduction = try ExpertReduction(
        candidates, keeping: count, similarity: similarity, merging: merges, path: command.file)
    } else {
      reduction = try ExpertReduction(candidates, keeping: count, path: command.file)
    }
    noteOthers(found.statistics, reduction)
    let report = ExpertPruningReport(
      candidates: candidates, statistics: found.statistics, similarity: similarity, reduction: reduction,
      gate: found.gate)
    if command.dryRun {
      return command.report.print(
        .object([("schema", 1), ("path", .string(command.file)), ("dry_run", true)] + report.facts)
      ) {
        for line in report.lines { Terminal.print(line) }
        Terminal.print("Nothing was changed. \(report.sentence)")
      }
    }
    let merged = try reduction.merged(
      in: bundle, rank: command.weights.choice, base: try merges ? baseWeights() : nil,
      on: command.options.pool)
    let leaving = reduction.leaving.map { candidates[$0].name } + merged.flatMap(\.members)
    let change = try BundleChange(
      command.file, output: command.output, without: leaving, known: bundle, command.write.writerOptions())
    defer { change.writer.abort() }
    let notes = try change.writer.reduce(reduction, merged: merged, of: change.bundle)
    let written = try change.writer.commit(
      note: "prune --experts \(count) " + (merges ? "--merge-similar" : "--by \(criterion.rawValue)"))
    command.report.printChange(
      command.output ?? command.file, change.writer, written: written, report.change,
      report.facts + [
        (
          "merged",
          .array(
            merged.map {
              [
                "name": .string($0.name), "of": .array($0.members.map(JSON.string)),
                "error": .double($0.expert.error),
              ]
            })
        )
      ],
      lines: report.lines
        + merged.map {
          "  expert/\($0.name): "
            + DerivedReport(
              $0.expert, what: "made of \($0.members.joined(separator: ", "))", showsModules: false
            )
            .sentence
        } + notes.map { "  " + $0.printable })
  }

  // MARK: Numbers

  private struct Found {
    var statistics: ExpertStatistics?
    var similarity: ExpertSimilarity?
    var gate: String?
  }

  private func measure() throws -> Found {
    var found = Found()
    if command.choice.usesTexts {
      let base = try command.options.load(command.file)
      let samples = try samples(base)
      let calibration = try ExpertCalibration(base, gate: command.choice.gate)
      found.gate = calibration.gateName
      let findsLosses = command.dryRun || criterion == .loss
      let tokens = samples.reduce(0) { $0 + $1.tokens.count }
      let progress = ProgressBar(
        command.file, total: UInt64(tokens * (findsLosses ? 1 + calibration.participantCount : 1)),
        unit: .tokens)
      defer { progress.finish() }
      found.statistics = try calibration.run(
        samples, context: command.choice.context ?? base.description.model.maximumPositions,
        findsLosses: findsLosses
      ) { progress.advance(UInt64($0)) }
    }
    let needsSimilarity = criterion == .similarity
    guard needsSimilarity || command.dryRun else { return found }
    do {
      let inputs = try banks.map { try MergeInput(StoredExpert($0.shortName, in: bundle)) }
      let weights = try inputs.contains(where: \.usesBase) ? baseWeights() : nil
      found.similarity = try ExpertSimilarity(inputs, base: weights, on: command.options.pool)
    } catch {
      // A table can do without; a decision cannot.
      if needsSimilarity { throw error }
      note(command.file, ["how alike the experts are cannot be said: \(error)"])
    }
    return found
  }

  private func baseWeights() throws -> BaseWeights {
    try BaseWeights(ResolvedBase(bundle, at: command.options.baseWeights))
  }

  private func samples(_ base: LoadedBase) throws -> [Evaluation.Sample] {
    let tokenizer = try Tokenizer(bundle: base.bundle)
    let boundary = try command.choice.between.map { text -> Int in
      guard let id = tokenizer.number(of: text) else {
        throw RuntimeError(
          .invalidData, path: command.file, found: "the tokenizer has no token \(text.printable)")
      }
      return id
    }
    var texts = HeldOut(
      TextCoding(tokenizer, between: boundary), chat: ChatForm(bundle: base.bundle),
      limit: command.choice.limit ?? .max)
    for item in command.choice.calibrate {
      try texts.add(try readWhole(item.path), of: item.path, domain: item.domain)
    }
    let samples = texts.groups.flatMap(\.samples)
    guard samples.contains(where: { $0.start < $0.tokens.count }) else {
      throw RuntimeError(
        .invalidData, path: command.file,
        found: "the texts of --calibrate have no token that could be predicted")
    }
    return samples
  }

  private func candidates(_ statistics: ExpertStatistics?) -> [ExpertReduction.Candidate] {
    banks.map { bank in
      let own = statistics?[bank.id]
      let value: Double? =
        switch criterion {
        case .usage: own?.use
        case .saliency: own?.saliency
        case .loss: own?.lossChange
        case .similarity: 0
        }
      return ExpertReduction.Candidate(
        id: bank.id, name: bank.shortName, stays: own?.isAlwaysOn ?? isAlwaysOn(bank.id), use: own?.use,
        value: value ?? 0)
    }
  }

  /// Without texts no gate was chosen: an expert that the bundle's own has always on stays all the same.
  private func isAlwaysOn(_ id: Bits128) -> Bool {
    guard let gate = try? bundle.defaultGate() else { return false }
    return GateRoles(gate.gate).role(of: id) == .always
  }

  private func noteOthers(_ statistics: ExpertStatistics?, _ reduction: ExpertReduction) {
    let fixed = reduction.candidates.filter(\.stays).map(\.name)
    if !fixed.isEmpty {
      note(
        command.file,
        ["\(fixed.joined(separator: ", ")) is always on, no choice of the gate, and stays"])
    }
    if statistics?.nullUse != nil {
      note(command.file, ["the bare base is a choice of the gate; it counts as no expert, and stays one"])
    }
    let uses = statistics?.experts.filter { $0.takesPart && !$0.isAlwaysOn }.map(\.use) ?? []
    if criterion == .usage, uses.count > 1, let least = uses.min(), let most = uses.max(),
      most - least <= 1e-6 * most
    {
      note(
        command.file,
        ["the gate uses all experts alike, so that usage says nothing of them; go by --by loss or saliency"])
    }
    let unaware = statistics?.experts.filter { !$0.takesPart }.map(\.name) ?? []
    if !unaware.isEmpty {
      note(
        command.file,
        ["the gate knows nothing of \(unaware.joined(separator: ", ")), so that it has no use for it"])
    }
  }
}
