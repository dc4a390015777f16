import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool extract`.
struct Extract: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "extract",
    abstract: "Make an expert of what a fine-tuned model changed of its base.",
    discussion: """
      The difference of every linear layer is approximated by a product of low rank, through a randomised singular \
      value decomposition with power iterations. What is lost is said for all modules together, and for each with \
      --modules; norms and biases that changed too are named: no expert of low rank holds them.
      """)

  @Option(
    name: .long, help: ArgumentHelp("The base: a checkpoint, or a bundle that has it.", valueName: "dir|file")
  )
  var base: String

  @Option(name: .long, help: ArgumentHelp("The fine-tuned model, a checkpoint.", valueName: "dir"))
  var tuned: String

  @Option(name: .long, help: "The rank; with --energy the largest.")
  var rank = 16

  @Option(name: .long, help: "The smallest rank that holds this share of a module's energy.")
  var energy: Double?

  @Option(name: .long, help: "A linear layer, whole or its last component; any number of times.")
  var target: [String] = [NewExpert.allLinear]

  @Option(name: .long, help: "How the factors are stored.")
  var dtype = MergedExpert.Precision.f32

  @Flag(name: .long, help: "Say for every module what is lost.")
  var modules = false

  @Option(name: .customLong("as"), help: "The name of the expert in the bundle that --base is.")
  var name: String?

  @Option(name: .shortAndLong, help: "The PEFT directory to make.", completion: .directory)
  var output: String?

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if (name == nil) == (output == nil) {
      throw ValidationError("Say where to: -o DIR, or --as NAME for a bundle.")
    }
    if let energy, !(energy > 0 && energy <= 1) {
      throw ValidationError("--energy is above 0 and at most 1.")
    }
    if !(1...65_536).contains(rank) { throw ValidationError("--rank is from 1 to 65,536.") }
  }

  func run() throws {
    let isBundle = PosixFileSystem().kind(base) == .file
    if name != nil, !isBundle { throw ValidationError("--as adds to a bundle: --base has to be one.") }
    let extraction = try Extraction(
      base: try MergeSources.open(base), tuned: try MergeSources.open(tuned), targets: target)
    let progress = ProgressBar("extract", total: UInt64(extraction.modules.count))
    let made = try extraction.run(rank: rank, energy: energy) { _ in progress.advance(1) }
    progress.finish()
    noteOthers(extraction.others)
    let summary = DerivedReport(
      made, what: "what \(Import.lastComponent(tuned)) changed", showsModules: modules)
    if let name {
      let writer = try BundleWriter(appendingTo: base, options: write.writerOptions())
      defer { writer.abort() }
      try writer.addExpert(made, named: name, precision: dtype)
      let written = try writer.commit(note: "extract expert/\(name) from \(Import.lastComponent(tuned))")
      let unaware = noteUnawareGates(base, of: [name])
      report.printChange(
        base, writer, written: written, "extracted expert/\(name)",
        summary.facts + [
          ("left_out", .array(extraction.others.map(JSON.string))), ("unaware_gates", unaware),
        ],
        lines: ["  " + summary.sentence] + summary.lines)
    } else if let output {
      let files = try made.write(to: output, precision: dtype, base: extraction.base.description)
      report.print(
        .object(
          [("schema", 1), ("path", .string(output)), ("files", .array(files.map(JSON.string)))]
            + summary.facts + [("left_out", .array(extraction.others.map(JSON.string)))])
      ) {
        Terminal.print("\(output.printable): \(summary.sentence)")
        for line in summary.lines { Terminal.print(line) }
      }
    }
  }

  private func noteOthers(_ others: [String]) {
    guard !others.isEmpty else { return }
    let names =
      others.prefix(3).joined(separator: ", ") + (others.count > 3 ? " and \(others.count - 3) more" : "")
    note(tuned, ["\(names) changed too, and no expert of low rank holds that"])
  }
}
