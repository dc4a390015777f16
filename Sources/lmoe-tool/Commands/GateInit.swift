import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool gate init`.
struct GateInit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make a gate without training.",
    discussion: """
      uniform: every expert alike; those to come too, unless --null or --always is given. constant: the weights given, of any sign, as they are. \
      random: a linear gate with small random weights, to be trained. arrow: at each linear layer the experts \
      whose strongest direction is most like the input (for LoRA experts as they are; nothing is trained). \
      prompts: the experts whose texts are most like the input; the base model reads the texts once.
      """)

  /// What makes the gate.
  enum Kind: String, CaseIterable, ExpressibleByArgument { case uniform, constant, random, arrow, prompts }

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(name: .long, help: "What makes the gate.")
  var kind: Kind

  @Option(name: .long, help: "The gate's name.")
  var name = Gate.defaultName

  @Option(
    name: .long,
    help: """
      For what it decides: module (each linear layer, by its input), layer (by the output of its first norm) or \
      global (by the token alone). By default layer for random and prompts, module for arrow.
      """)
  var scope: Gate.Scope?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "For constant: the experts' weights, as math=0.7,code=-0.3; others get 0.",
      valueName: "name=number,…"))
  var weights: WeightList?

  @Flag(name: .long, help: "Let the bare base be a choice, beside the experts.")
  var null = false

  @Option(
    name: .long, help: "An expert that is always on, with weight 1, beside the others.",
    completion: Completions.experts)
  var always: [String] = []

  @Option(
    name: .long,
    help: "Only the K highest scores count (default: 3 for arrow, else all).")
  var topK: Int?

  @Flag(
    name: .long,
    help: "With --top-k: their weights are not made to add up to 1, so that K = 1 can be trained.")
  var raw = false

  @Option(name: .long, help: "What scores are divided by (default: 0.1 for prompts, else 1).")
  var temperature: Double?

  @Option(name: .long, help: "For random: what the weights are drawn from (default: 0).")
  var seed: UInt64?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "For prompts: a text of the kind that an expert is for, or JSON lines with \"text\"; several may be given for one.",
      valueName: "name=file"),
    completion: .file())
  var prompts: [ExpertArgument] = []

  @Flag(name: .long, help: "For prompts: keep what all texts have in common.")
  var uncentred = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "For prompts: where the weights of a base are that is not in the file.", valueName: "dir|file"))
  var base: String?

  @Flag(name: .long, help: "Replace a gate of that name.")
  var force = false

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    func refuse(_ option: String, _ isGiven: Bool, unless kinds: Kind...) throws {
      if isGiven && !kinds.contains(kind) {
        throw ValidationError(
          "\(option) goes with --kind \(kinds.map(\.rawValue).joined(separator: " or "))."
        )
      }
    }
    try refuse("--weights", weights != nil, unless: .constant)
    try refuse("--seed", seed != nil, unless: .random)
    try refuse("--prompts", !prompts.isEmpty, unless: .prompts)
    try refuse("--uncentred", uncentred, unless: .prompts)
    try refuse("--base", base != nil, unless: .prompts)
    try refuse("--null", null, unless: .uniform, .random, .arrow, .prompts)
    try refuse("--top-k", topK != nil, unless: .random, .arrow, .prompts)
    try refuse("--temperature", temperature != nil, unless: .random, .arrow, .prompts)
    if kind == .constant && weights == nil { throw ValidationError("--kind constant needs --weights.") }
    if kind == .prompts && prompts.isEmpty {
      throw ValidationError("--kind prompts needs --prompts NAME=FILE.")
    }
    if kind == .arrow && scope ?? .module != .module {
      throw ValidationError("--kind arrow makes a gate of --scope module: experts have a direction in each.")
    }
    if raw && topK == nil { throw ValidationError("--raw goes with --top-k.") }
    if let topK, !(1...Gate.largestK).contains(topK) { throw ValidationError("--top-k must be at least 1.") }
    if let temperature, !(Gate.temperatures.contains(temperature)) {
      throw ValidationError("--temperature must be from 0.000001 to 1000000.")
    }
  }

  func run() throws {
    try requireGateName(name)
    let writer = try BundleWriter(appendingTo: file, options: write.writerOptions(codec: .raw))
    defer { writer.abort() }
    guard let bundle = writer.base else { throw ExpertError(.noBase, path: file) }
    let existed = bundle.root.bank("gate/" + name) != nil
    // Before a model reads texts for it.
    if existed && !force { throw ExpertError(.gateExists, path: file, name: name) }
    let gate = try make(in: bundle)
    try writer.addGate(gate, named: name, replaces: force)
    let what = "gate/\(name) (\(kind.rawValue)\(gate.rowCount > 0 ? ", \(gate.rowCount) rows" : ""))"
    let change = "\(existed ? "replaced" : "added") \(what)"
    let written = try writer.commit(note: (existed ? "replace " : "add ") + what)
    note(file, gate.notes + hints(writer.banks.filter { $0.kind == "gate" }))
    report.printChange(file, writer, written: written, change)
  }

  private func make(in bundle: Bundle) throws -> NewGate {
    let members = try bundle.gateMembers(always: always, hasNull: null)
    switch kind {
    case .uniform: return .uniform(scope: scope ?? .global, members: members)
    case .constant:
      return .constant(try givenWeights(bundle), scope: scope ?? .global, members: members)
    case .random:
      return try .random(
        in: bundle, scope: scope ?? .layer, normaliser: try normaliser(members, bundle),
        temperature: temperature ?? 1, members: members, seed: seed ?? 0)
    case .arrow:
      return try .arrow(
        in: bundle, normaliser: try normaliser(members, bundle), temperature: temperature ?? 1,
        members: members)
    case .prompts:
      let normaliser = try normaliser(members, bundle)
      let texts = try prompts.map { try PromptText($0, in: bundle) }
      let means = try promptMeans(bundle, base: base, scope: scope ?? .layer, texts: texts)
      return try .prompts(
        means: means, in: bundle, scope: scope ?? .layer, normaliser: normaliser,
        temperature: temperature ?? 0.1, members: members, isCentred: !uncentred, texts: texts.map(\.json))
    }
  }

  private func givenWeights(_ bundle: Bundle) throws -> [Gate.Weight] {
    let fixed = Set(always.map { ByteKey($0) })
    return try (weights?.weights ?? []).map { item in
      if fixed.contains(ByteKey(item.name)) {
        throw ValidationError("\(item.name) cannot have a weight and be --always on.")
      }
      return Gate.Weight(expert: try bundle.bank("expert/" + item.name).id, value: item.weight)
    }
  }

  private func normaliser(_ members: Gate.Members, _ bundle: Bundle) throws -> Gate.Normaliser {
    if bundle.banks(ofKind: "expert").isEmpty { throw ExpertError(.noExperts, path: file) }
    let count = bundle.routedCount(of: members)
    guard count > 0 else { throw ValidationError("Every expert is --always on: none is left to choose.") }
    guard let topK else { return kind == .arrow ? .topKRenormalised(min(3, count)) : .softmax }
    guard topK <= count else {
      throw ValidationError("--top-k \(topK) is more than there are to choose from (\(count)).")
    }
    return raw ? .topKRaw(topK) : .topKRenormalised(topK)
  }

  /// What follows from the choices and may surprise.
  private func hints(_ gates: [BankEntry]) -> [String] {
    var hints: [String] = []
    if kind == .random, topK == 1, !raw {
      hints.append("with --top-k 1 the one expert has weight 1, and training cannot move the gate; add --raw")
    }
    if gates.count > 1, !gates.contains(where: { $0.shortName.hasSameBytes(as: Gate.defaultName) }) {
      hints.append("there are \(gates.count) gates and none is called \"default\": name one with --gate")
    }
    return hints
  }
}

/// `NAME=NUMBER,NAME=NUMBER`: weights of experts.
struct WeightList: ExpressibleByArgument, Sendable {
  let weights: [(name: String, weight: Double)]

  init?(argument: String) {
    var weights: [(name: String, weight: Double)] = []
    for part in argument.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      guard let equals = part.lastIndex(of: UInt8(ascii: "=")), equals > part.startIndex,
        let weight = Double(String(decoding: part[equals...].dropFirst(), as: UTF8.self)),
        Float(weight).isFinite
      else { return nil }
      let name = String(decoding: part[..<equals], as: UTF8.self)
      guard !weights.contains(where: { $0.name.hasSameBytes(as: name) }) else { return nil }
      weights.append((name, weight))
    }
    self.weights = weights
  }
}
