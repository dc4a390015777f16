import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool inspect`.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what is in a bundle, a safetensors file, a checkpoint or an adapter.",
    discussion: "Reads indexes and cards only; a bundle of any size takes milliseconds.")

  @Argument(
    help: "A bundle, a safetensors file, or the directory of a checkpoint or a PEFT adapter.",
    completion: .file())
  var path: String

  @Flag(name: .long, help: "List every tensor.")
  var tensors = false

  @Flag(name: .long, help: "List the generations.")
  var history = false

  @OptionGroup var read: ReadOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    let system = PosixFileSystem()
    if system.kind(path) == .directory {
      if system.kind(path + "/adapter_config.json") == .file {
        return try show(AdapterReport(try PEFTAdapter(path: path), withTensors: tensors))
      }
      return try show(CheckpointReport(try HFCheckpoint(path: path), withTensors: tensors))
    }
    if path.hasSuffix(".safetensors") {
      return try show(SafetensorsReport(try SafetensorsFile(path: path), withTensors: tensors))
    }
    let bundle = try Bundle(path: path, options: read.bundleOptions)
    try show(try BundleReport(bundle, withTensors: tensors, withHistory: history))
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
