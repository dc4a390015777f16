import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool inspect`.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Say what is in a bundle, a safetensors file, a checkpoint or an adapter.",
    discussion: """
      Reads indexes and cards only, so a bundle of any size takes milliseconds; --tensor decodes one tensor. \
      norm is the size of all low-rank changes of an expert (the root of the sum of their squares), and \
      share is that over the size of the weights it changes.
      """)

  @Argument(
    help: "A bundle, a safetensors file, or the directory of a checkpoint or a PEFT adapter.",
    completion: .file())
  var path: String

  @Flag(name: .long, help: "Show each expert in full, and where in the model it acts.")
  var experts = false

  @Flag(name: .long, help: "Show each gate in full.")
  var gate = false

  @Flag(name: .long, help: "Show where each bank comes from, its ids and its documents.")
  var provenance = false

  @Flag(name: .long, help: "List the generations.")
  var history = false

  @Flag(name: .long, help: "List every tensor.")
  var tensors = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Show one tensor (NAME or BANK:NAME) and what its values are like.", valueName: "name"),
    completion: Completions.tensors)
  var tensor: String?

  @OptionGroup var read: ReadOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    let system = PosixFileSystem()
    if tensor != nil, system.kind(path) == .directory || path.hasSuffix(".safetensors") {
      throw ValidationError("--tensor goes with a bundle; --tensors lists those of other files.")
    }
    if system.kind(path) == .directory {
      if system.kind(path + "/adapter_config.json") == .file {
        let adapter = try PEFTAdapter(opening: path, on: { try Bundle(path: path).baseDescription().model })
        return try show(AdapterReport(adapter, withTensors: tensors))
      }
      return try show(CheckpointReport(try HFCheckpoint(path: path), withTensors: tensors))
    }
    if path.hasSuffix(".safetensors") {
      return try show(SafetensorsReport(try SafetensorsFile(path: path), withTensors: tensors))
    }
    let bundle = try Bundle(path: path, options: read.bundleOptions)
    if let tensor { return try show(try TensorDetails(tensor, in: bundle)) }
    var details: BundleReport.Details = []
    if tensors { details.insert(.tensors) }
    if history { details.insert(.history) }
    if experts { details.insert(.experts) }
    if gate { details.insert(.gates) }
    if provenance { details.insert(.provenance) }
    try show(try BundleReport(bundle, details))
  }

  private func show(_ inspected: any InspectReport) throws {
    report.print(inspected.json) {
      for line in inspected.lines { Terminal.print(line) }
    }
  }
}

/// Something that can be shown as JSON or as text.
protocol InspectReport {
  /// The documented JSON.
  var json: JSON { get }
  /// The screen.
  var lines: [String] { get }
}
