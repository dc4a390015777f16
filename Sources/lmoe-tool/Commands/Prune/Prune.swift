public import ArgumentParser
import LMoECore
public import LMoEExperts
import LMoEFormat
import LMoERuntime

/// The command `lmoe-tool prune`.
struct Prune: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune",
    abstract: "Make experts smaller, or fewer.",
    discussion: """
      --ranks keeps of every module the best product of a smaller rank (--rank, or --energy: the smallest rank that \
      holds this share of Σσ²), and --entries zeroes the smallest entries of the factors A and B. Neither looks at \
      data; ids, gates and scalings stay. Instead of a bundle, a PEFT directory will do.

      --experts K leaves K of a bundle's experts. By usage, saliency and loss those leave that count least on the \
      texts of --calibrate: Σ|g| over tokens and places; the mean of |g|·‖s·B(A·x)‖ where they are used, summed over \
      modules; the loss without each, exactly. By similarity one of the two most alike leaves, again and again. \
      --merge-similar makes one of them instead, each counting as much as it is used, with the gate's share of both. \
      Gates go on without what left; experts that a gate has always on stay. --dry-run prints what there is to \
      decide by, and changes nothing.
      """)

  @Argument(
    help: ArgumentHelp("The bundle; or a PEFT directory.", valueName: "file|dir"), completion: .file())
  var file: String

  @Flag(name: .long, help: "Give modules a smaller rank.")
  var ranks = false

  @Flag(name: .long, help: "Zero the smallest entries of the factors.")
  var entries = false

  @Option(name: .long, help: ArgumentHelp("Leave so many experts.", valueName: "number"))
  var experts: Int?

  @OptionGroup var weights: PruneWeightOptions
  @OptionGroup var choice: PruneExpertOptions

  @Flag(name: .long, help: "Say what would be done, and change nothing.")
  var dryRun = false

  @Flag(name: .long, help: "Say for every module what is lost.")
  var modules = false

  @Option(
    name: .shortAndLong, help: "A new bundle, or directory, for the result; the source stays as it is.",
    completion: .file())
  var output: String?

  @OptionGroup var options: RunOptions
  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    guard [ranks, entries, experts != nil].count(where: { $0 }) == 1 else {
      throw ValidationError("Say what is pruned: --ranks, --entries or --experts NUMBER.")
    }
    if experts != nil {
      try weights.requireNone(rankIsOf: choice.mergeSimilar)
      try choice.check()
    } else {
      try choice.requireNone()
      try weights.check(entries: entries)
    }
  }

  func run() throws {
    if let experts { return try ExpertPruningRun(self).run(leaving: experts) }
    try WeightPruningRun(self).run()
  }
}

/// How far the weights of experts are pruned.
struct PruneWeightOptions: ParsableArguments {
  @Option(name: .long, help: "For --ranks: the rank; for --merge-similar that of what is merged.")
  var rank: Int?

  @Option(name: .long, help: "For both: the smallest rank that holds this share of a module's energy.")
  var energy: Double?

  @Option(name: .long, help: "For --entries: the share of the entries of each factor that stays.")
  var density: Double?

  @Option(
    name: .long, help: "For --ranks and --entries: an expert; any number of times (default: all).",
    completion: Completions.experts)
  var expert: [String] = []

  func check(entries: Bool) throws {
    if entries {
      if density == nil { throw ValidationError("--entries needs --density, such as 0.5.") }
      if rank != nil || energy != nil { throw ValidationError("--rank and --energy go with --ranks.") }
    } else {
      if (rank == nil) == (energy == nil) { throw ValidationError("--ranks needs --rank or --energy.") }
      if density != nil { throw ValidationError("--density goes with --entries.") }
    }
  }

  func requireNone(rankIsOf merging: Bool) throws {
    if !expert.isEmpty || density != nil {
      throw ValidationError("--expert and --density go with --ranks and --entries.")
    }
    if rank != nil || energy != nil {
      if !merging { throw ValidationError("--rank and --energy go with --ranks, or with --merge-similar.") }
      if rank != nil, energy != nil { throw ValidationError("Give one of --rank and --energy.") }
    }
  }

  /// What stays of an expert.
  var rule: WeightPruning.Rule {
    if let density { return .entries(density: density) }
    return rank.map(WeightPruning.Rule.rank) ?? .energy(energy ?? 1)
  }

  /// The rank of what is merged.
  var choice: RankChoice { rank.map(RankChoice.rank) ?? energy.map(RankChoice.energy) ?? .natural }
}

extension ExpertReduction.Criterion: ExpressibleByArgument {}

/// How experts are chosen.
struct PruneExpertOptions: ParsableArguments {
  @Option(name: .customLong("by"), help: "For --experts: what decides who leaves.")
  var criterion: ExpertReduction.Criterion?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "For --experts: a text or JSON lines, as eval takes them; any number of times.",
      valueName: "[name=]path"),
    completion: .file())
  var calibrate: [DataArgument] = []

  @Flag(name: .long, help: "For --experts: those most alike become one, instead of one leaving.")
  var mergeSimilar = false

  @Option(name: .long, help: "For --experts: the gate that is looked at (default: the bundle's own).")
  var gate: String?

  @Option(
    name: .long, help: ArgumentHelp("A special token to put before and after each text.", valueName: "token"))
  var between: String?

  @Option(name: .long, help: "The most texts to take of each kind.")
  var limit: Int?

  @Option(
    name: .long, help: "The longest part that is run at once, in tokens; by default the model's context.")
  var context: Int?

  var usesTexts: Bool { !calibrate.isEmpty }

  func check() throws {
    guard criterion != nil || mergeSimilar else {
      throw ValidationError("Say --by usage, saliency, similarity or loss; or --merge-similar.")
    }
    if mergeSimilar, criterion.map({ $0 != .similarity }) ?? false {
      throw ValidationError("--merge-similar goes by similarity.")
    }
    if let criterion, criterion.needsTexts, calibrate.isEmpty {
      throw ValidationError("--by \(criterion.rawValue) needs texts: --calibrate PATH.")
    }
    if let limit, limit < 1 { throw ValidationError("--limit is at least 1.") }
    if let context, context < 2 { throw ValidationError("--context is at least 2.") }
    if !usesTexts, gate != nil || between != nil || limit != nil || context != nil {
      throw ValidationError("--gate, --between, --limit and --context go with --calibrate.")
    }
  }

  func requireNone() throws {
    if criterion != nil || mergeSimilar || usesTexts || gate != nil || between != nil || limit != nil
      || context != nil
    {
      throw ValidationError(
        "--by, --calibrate, --merge-similar, --gate, --between, --limit and --context go with --experts.")
    }
  }
}
