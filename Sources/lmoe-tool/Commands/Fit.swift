public import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat
public import LMoERuntime

extension MixingFit.Method: ExpressibleByArgument {}
extension MixingFit.Scope: ExpressibleByArgument {}

/// The command `lmoe-tool fit`.
struct Fit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fit",
    abstract: "Find weights for experts from a few texts.",
    discussion: """
      One number for each expert, or for each in each layer, the same for every token, so that texts cost least: \
      Σ wᵢ·sᵢ·BᵢAᵢ, never a product of summed factors. gradient trains the numbers (LoRA Soups' CAT), from equal \
      ones on. search only ever runs the model forward (as LoraHub does): it tries numbers from -1.5 to 1.5, from 0 \
      on, and takes those of the least loss + 0.05·mean|w|.

      --gate keeps them as a gate of the bundle: constant, or by layer linear with biases alone. --as makes one \
      expert of the weighted sum.
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(
    name: .long,
    help: ArgumentHelp(
      "A text or JSON lines, as eval takes them; any number of times.", valueName: "[name=]path"),
    completion: .file())
  var data: [DataArgument] = []

  @Option(
    name: .long, help: "An expert that takes part; any number of times (default: all).",
    completion: Completions.experts)
  var expert: [String] = []

  @Option(name: .long, help: "By the gradient, or by trying.")
  var method = MixingFit.Method.gradient

  @Option(name: .long, help: "For what a number is (default: layer; for search global).")
  var scope: MixingFit.Scope?

  @Option(name: .long, help: "Steps of the gradient, or numbers tried (default: 60, 40).")
  var steps: Int?

  @Option(name: .long, help: "For gradient: the peak rate.")
  var rate = 0.05

  @Option(name: .long, help: "What the order of texts, or tries, follow from.")
  var seed: UInt64 = 0

  @Option(name: .customLong("as"), help: "Add the weighted sum as an expert of this name.")
  var name: String?

  @Option(name: .long, help: "Add the weights as a gate of this name.")
  var gate: String?

  @Flag(name: .long, help: "Replace a gate of that name.")
  var force = false

  @Option(name: .long, help: "With --as: the rank of every module (default: what loses nothing).")
  var rank: Int?

  @Option(name: .long, help: "With --as: or the smallest rank that holds this share of a module's energy.")
  var energy: Double?

  @Option(
    name: .long, help: ArgumentHelp("A special token to put before and after each text.", valueName: "token"))
  var between: String?

  @Option(name: .long, help: "The most texts to take of each kind.")
  var limit: Int?

  @Option(
    name: .long, help: "The longest part that is run at once, in tokens; the model's context, at most 1024.")
  var context: Int?

  @OptionGroup var options: RunOptions
  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if data.isEmpty { throw ValidationError("Say which text: --data PATH.") }
    if name == nil, gate == nil {
      throw ValidationError("Say what to make of the weights: --gate NAME, --as NAME, or both.")
    }
    if let steps, !(1...1_000_000).contains(steps) {
      throw ValidationError("--steps is from 1 to 1,000,000.")
    }
    if !(rate > 0 && rate.isFinite) { throw ValidationError("--rate is above 0.") }
    if name == nil, rank != nil || energy != nil {
      throw ValidationError("--rank and --energy go with --as.")
    }
    if rank != nil, energy != nil { throw ValidationError("Give one of --rank and --energy.") }
    if gate == nil, force { throw ValidationError("--force goes with --gate.") }
    if let limit, limit < 1 { throw ValidationError("--limit is at least 1.") }
    if let context, context < 2 { throw ValidationError("--context is at least 2.") }
    for (index, name) in expert.enumerated()
    where expert[..<index].contains(where: { $0.hasSameBytes(as: name) }) {
      throw ValidationError("--expert names \(name) twice.")
    }
  }

  func run() throws {
    if let name { try requireExpertName(name) }
    if let gate { try requireGateName(gate) }
    let base = try options.load(file)
    try requireFree(base.bundle)
    let names = try WeightPruningRun.names(expert, in: base.bundle)
    let scope = scope ?? (method == .search ? .global : .layer)
    let fit = try MixingFit(
      base, experts: names, scope: scope, samples: samples(base),
      context: context ?? min(base.description.model.maximumPositions, 1024))
    let result = try find(fit)
    let writer = try BundleWriter(appendingTo: file, options: write.writerOptions())
    defer { writer.abort() }
    var made: [String] = []
    var lines = table(result)
    if let gate {
      try writer.addGate(
        result.gate(hiddenSize: base.description.model.hiddenSize, method: method), named: gate,
        replaces: force)
      made.append("gate/" + gate)
    }
    var facts: [(String, JSON)] = []
    if let name {
      let inputs = try names.map { try MergeInput(StoredExpert($0, in: base.bundle)) }
      let weights =
        try inputs.contains(where: \.usesBase)
        ? BaseWeights(ResolvedBase(base.bundle, at: options.baseWeights)) : nil
      let choice = rank.map(RankChoice.rank) ?? energy.map(RankChoice.energy) ?? .natural
      let merged = try result.merge(inputs, rank: choice, base: weights, method: method).run(on: options.pool)
      try writer.addExpert(merged, named: name)
      made.append("expert/" + name)
      let summary = DerivedReport(merged, what: "the weighted sum", showsModules: false)
      lines.append("  " + summary.sentence)
      facts = [("expert", .object(summary.facts))]
    }
    let written = try writer.commit(note: "fit " + made.joined(separator: ", "))
    let unaware = name.map { noteUnawareGates(file, of: [$0]) } ?? []
    report.printChange(
      file, writer, written: written, "fitted " + made.joined(separator: ", "),
      json(result) + facts + [("unaware_gates", unaware)], lines: lines)
  }

  /// Refuses a name that is taken before there is any work.
  private func requireFree(_ bundle: Bundle) throws {
    if let name, bundle.root.bank("expert/" + name) != nil {
      throw FormatError(.bankExists, path: file, bank: "expert/" + name)
    }
    if let gate, !force, bundle.root.bank("gate/" + gate) != nil {
      throw ExpertError(.gateExists, path: file, name: gate)
    }
  }

  private func find(_ fit: MixingFit) throws -> MixingFit.Result {
    let count = steps ?? (method == .gradient ? 60 : 40)
    let progress = ProgressBar(file, total: UInt64(count))
    defer { progress.finish() }
    switch method {
    case .gradient: return try fit.gradient(steps: count, rate: rate, seed: seed) { _ in progress.advance(1) }
    case .search: return try fit.search(evaluations: count, seed: seed) { _ in progress.advance(1) }
    }
  }

  private func samples(_ base: LoadedBase) throws -> [Evaluation.Sample] {
    let tokenizer = try Tokenizer(bundle: base.bundle)
    let boundary = try between.map { text -> Int in
      guard let id = tokenizer.number(of: text) else {
        throw RuntimeError(.invalidData, path: file, found: "the tokenizer has no token \(text.printable)")
      }
      return id
    }
    var texts = HeldOut(
      TextCoding(tokenizer, between: boundary), chat: ChatForm(bundle: base.bundle), limit: limit ?? .max)
    for item in data { try texts.add(try readWhole(item.path), of: item.path, domain: item.domain) }
    return texts.groups.flatMap(\.samples)
  }

  // MARK: What is printed

  private func table(_ result: MixingFit.Result) -> [String] {
    let isByLayer = result.places.count > 1
    var table = Table(
      [("expert", .left), (isByLayer ? "mean weight" : "weight", .right)]
        + (isByLayer ? [("least", .right), ("most", .right)] : []))
    for (index, name) in result.experts.enumerated() {
      let own = result.weights.compactMap { $0[index] }
      table.add(
        [name, formatted(result.means[index], digits: 3)]
          + (isByLayer
            ? [own.min(), own.max()].map { $0.map { formatted($0, digits: 3) } ?? "–" } : []))
    }
    return table.lines + [
      "  nats per token of these texts: \(formatted(result.before, digits: 4)) with equal weights, "
        + "\(formatted(result.after, digits: 4)) with these"
    ]
  }

  private func json(_ result: MixingFit.Result) -> [(String, JSON)] {
    [
      ("method", .string(method.rawValue)), ("steps", .integer(result.steps)),
      ("nats_before", .double(result.before)), ("nats_after", .double(result.after)),
      (
        "experts",
        .array(
          zip(result.experts, result.means).map { ["name": .string($0), "weight": .double($1)] })
      ),
      (
        "places",
        .array(
          zip(result.places, result.weights).map { place, weights in
            [
              "place": .string(place), "weights": .array(weights.map { $0.map(JSON.double) ?? .null }),
            ]
          })
      ),
    ]
  }
}
