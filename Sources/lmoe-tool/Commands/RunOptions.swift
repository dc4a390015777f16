import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// `a=.7,b=.3`: experts and their weights.
struct WeightsArgument: ExpressibleByArgument, Sendable {
  let experts: [Selection.WeightedExpert]

  init?(argument: String) {
    var experts: [Selection.WeightedExpert] = []
    for part in argument.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      guard let equals = part.lastIndex(of: UInt8(ascii: "=")), equals > part.startIndex,
        let weight = Double(String(decoding: part[equals...].dropFirst(), as: UTF8.self)), weight.isFinite
      else { return nil }
      let name = String(decoding: part[..<equals], as: UTF8.self)
      guard !experts.contains(where: { $0.name.hasSameBytes(as: name) }) else { return nil }
      experts.append(Selection.WeightedExpert(name, weight))
    }
    self.experts = experts
  }
}

/// Options of commands that choose among the experts of a bundle.
struct SelectionOptions: ParsableArguments {
  @Flag(name: .long, help: "Run the base as it is, without experts.")
  var base = false

  @Option(
    name: .long, help: "Run this expert outright, with everything it changes.",
    completion: Completions.experts)
  var expert: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Run these experts with these weights, as given, of any sign.", valueName: "a=.7,b=.3"))
  var weights: WeightsArgument?

  @Flag(name: .long, help: "Run all experts with equal weights.")
  var uniform = false

  @Option(name: .long, help: "Run the experts that this gate knows, weighed by it.")
  var gate: String?

  /// Whether one was chosen.
  var isGiven: Bool { count > 0 }

  private var count: Int {
    [base, expert != nil, weights != nil, uniform, gate != nil].filter { $0 }.count
  }

  func validate() throws {
    if count > 1 {
      throw ValidationError("Give one of --base, --expert, --weights, --uniform and --gate.")
    }
  }

  /// What was asked for, or the bundle's own gate; says on stderr which experts that gate knows nothing of.
  func selection(in bundle: Bundle) throws -> Selection {
    let selection = try chosen(in: bundle)
    if case .gate(let name) = selection, bundle.root.bank("gate/" + name) != nil {
      let unaware = try bundle.gate(named: name).status.unaware
      if !unaware.isEmpty {
        note(
          bundle.path,
          [
            "gate/\(name) is unaware of \(unaware.joined(separator: ", ")), which \(unaware.count == 1 ? "has" : "have") "
              + "weight 0; make it anew with \"lmoe-tool gate init\""
          ])
      }
    }
    return selection
  }

  private func chosen(in bundle: Bundle) throws -> Selection {
    if base { return .base }
    if let expert { return .expert(expert) }
    if let weights { return .weights(weights.experts) }
    if uniform { return .uniform }
    if let gate { return .gate(gate) }
    if bundle.banks(ofKind: "expert").isEmpty { return .base }
    return try bundle.defaultGate().map { .gate($0.name) } ?? .uniform
  }
}

/// Options of commands that run a model.
struct RunOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp("Where the base's weights are, if not in the bundle.", valueName: "dir|file"),
    completion: .file())
  var baseWeights: String?

  @Option(name: .long, help: "Threads; all cores if not given.")
  var threads: Int?

  @OptionGroup var read: ReadOptions

  func validate() throws {
    if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads is 1 to 1024.") }
  }

  var pool: WorkerPool { threads.map { WorkerPool(count: $0) } ?? .shared }

  /// Opens a bundle and loads its base.
  func load(_ file: String) throws -> LoadedBase { try load(open(file)) }

  /// Opens a bundle.
  func open(_ file: String) throws -> Bundle { try Bundle(path: file, options: read.bundleOptions) }

  /// Loads a bundle's base.
  func load(_ bundle: Bundle) throws -> LoadedBase { try LoadedBase(bundle, at: baseWeights, on: pool) }
}

/// `1,2,3`: token ids.
struct TokensArgument: ExpressibleByArgument, Sendable {
  let ids: [Int]

  init?(argument: String) {
    var ids: [Int] = []
    for part in argument.utf8.split(
      omittingEmptySubsequences: true, whereSeparator: { $0 == 0x2C || $0 == 0x20 })
    {
      guard let id = Int(String(decoding: part, as: UTF8.self)) else { return nil }
      ids.append(id)
    }
    self.ids = ids
  }
}
