import ArgumentParser
import LMoEExperts
import LMoERuntime

/// Options that say what is trained, and what weighs it.
struct TrainingTargetOptions: ParsableArguments {
  @Option(
    name: .long,
    help: "An expert to train; if none is named, those that are new, or else all that take part.",
    completion: Completions.experts)
  var expert: [String] = []

  @Option(name: .long, help: "Begin an expert of this name and train it.")
  var newExpert: [String] = []

  @Option(name: .long, help: "The rank of new experts.")
  var rank = 16

  @Option(name: .long, help: "The alpha of new experts; twice the rank if not given.")
  var alpha: Double?

  @Flag(name: .long, help: "Scale new experts with alpha over the root of the rank.")
  var rsLora = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The linear layers that new experts adapt.", valueName: "q_proj,v_proj,…|all-linear"))
  var targets = "all-linear"

  @Option(
    name: .long, help: "The gate that is trained, or weighs the experts; the bundle's own if not given.")
  var gate: String?

  @Option(
    name: .long,
    help: "Begin a gate anew: linear, dot, absolute-dot or cosine scores, or constant weights.")
  var newGate: Kind?

  @Option(name: .long, help: "For a new gate: what it decides for (default: layer, or global for constant).")
  var scope: Gate.Scope?

  @Option(name: .long, help: "For a new gate: only the K highest scores count.")
  var topK: Int?

  @Flag(name: .long, help: "With --top-k: their weights are not made to add up to 1.")
  var raw = false

  @Option(name: .long, help: "For a new gate: what scores are divided by.")
  var temperature: Double?

  @Flag(name: .long, help: "For a new gate: let the bare base be a choice.")
  var null = false

  @Option(
    name: .long, help: "For a new gate: an expert that is always on, with weight 1.",
    completion: Completions.experts)
  var always: [String] = []

  @Flag(name: .long, help: "Train experts with equal weights, without a gate.")
  var uniform = false

  @Flag(name: .long, help: "Train the one expert that is named by itself, with weight 1.")
  var alone = false

  /// How a new gate scores.
  enum Kind: String, CaseIterable, ExpressibleByArgument {
    case linear, dot
    case absoluteDot = "absolute-dot"
    case cosine, constant

    var score: Gate.Score {
      switch self {
      case .linear: .linear
      case .dot: .prototype(.dot)
      case .absoluteDot: .prototype(.absoluteDot)
      case .cosine: .prototype(.cosine)
      case .constant: .constant(.uniform)
      }
    }
  }

  func validate() throws {
    if alone, expert.count + newExpert.count != 1 {
      throw ValidationError("--alone goes with one --expert or one --new-expert.")
    }
    if alone, uniform || gate != nil || newGate != nil {
      throw ValidationError("--alone goes with no gate.")
    }
    if uniform, gate != nil || newGate != nil { throw ValidationError("--uniform goes with no gate.") }
    if raw, topK == nil { throw ValidationError("--raw goes with --top-k.") }
    if let topK, !(1...Gate.largestK).contains(topK) { throw ValidationError("--top-k must be at least 1.") }
    if let temperature, !Gate.temperatures.contains(temperature) {
      throw ValidationError("--temperature must be from 0.000001 to 1000000.")
    }
    if newGate == nil, scope != nil || topK != nil || temperature != nil || null || !always.isEmpty {
      throw ValidationError(
        "--scope, --top-k, --temperature, --null and --always make a new gate: give --new-gate linear, or another."
      )
    }
  }

  /// The gate that is begun.
  var begun: Gate {
    let kind = newGate ?? .linear
    let normaliser: Gate.Normaliser =
      topK.map { raw ? .topKRaw($0) : .topKRenormalised($0) } ?? .softmax
    return Gate(
      kind.score, scope: scope ?? (kind == .constant ? .global : .layer), normaliser: normaliser,
      temperature: temperature ?? 1)
  }
}
