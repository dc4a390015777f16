import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool resize`.
struct Resize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resize",
    abstract: "Give an expert another rank: the best approximation of its deltas.",
    discussion: """
      The source is a PEFT directory or an expert of a bundle (FILE#EXPERT). A larger rank than the deltas have is \
      filled up with zeros. An expert of a bundle that is to stay what it is called and known by is made smaller \
      by "prune --ranks".
      """)

  @Argument(
    help: ArgumentHelp("A PEFT directory, or FILE#EXPERT.", valueName: "source"), completion: .file())
  var source: String

  @Option(name: .long, help: "The rank of every module.")
  var rank: Int?

  @Option(name: .long, help: "Or the smallest rank that holds this share of a module's energy.")
  var energy: Double?

  @Option(name: .long, help: ArgumentHelp("The base, for DoRA.", valueName: "dir|file"))
  var base: String?

  @Option(name: .long, help: "How the factors are stored.")
  var dtype = MergedExpert.Precision.f32

  @Flag(name: .long, help: "Say for every module what is lost.")
  var modules = false

  @Option(name: .shortAndLong, help: "The PEFT directory to make.", completion: .directory)
  var output: String

  @OptionGroup var report: ReportOptions

  func validate() throws {
    if (rank == nil) == (energy == nil) { throw ValidationError("Give --rank or --energy.") }
  }

  func run() throws {
    let weights = try base.map { try MergeSources.open($0) }
    let input = try MergeSources.input(source, base: weights)
    let choice = rank.map(RankChoice.rank) ?? .energy(energy ?? 1)
    let made = try Merge([input], weights: [1], by: MergeMethod(.svd), rank: choice, base: weights).run()
    let files = try made.write(to: output, precision: dtype, base: weights?.description)
    let summary = DerivedReport(made, what: input.label, showsModules: modules)
    report.print(
      .object(
        [("schema", 1), ("path", .string(output)), ("files", .array(files.map(JSON.string)))] + summary.facts)
    ) {
      Terminal.print("\(output.printable): \(summary.sentence)")
      for line in summary.lines { Terminal.print(line) }
    }
  }
}
