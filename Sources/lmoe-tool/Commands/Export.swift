import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool export`.
struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write the base or an expert out as the directory it came from.",
    discussion: "Files that were not changed come back byte for byte.")

  /// What to write.
  enum Format: String, CaseIterable, ExpressibleByArgument { case hf, peft }

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(name: .long, help: "hf: the base as a Hugging Face checkpoint; peft: an expert as a PEFT adapter.")
  var to: Format

  @Option(name: .long, help: "The expert to write, for --to peft.")
  var expert: String?

  @Option(name: .shortAndLong, help: "The directory to make.", completion: .directory)
  var output: String

  @OptionGroup var read: ReadOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if to == .peft && expert == nil { throw ValidationError("--to peft needs --expert NAME.") }
    if to == .hf && expert != nil {
      throw ValidationError("--to hf writes the base; --expert goes with --to peft.")
    }
  }

  func run() throws {
    let bundle = try Bundle(path: file, options: read.bundleOptions)
    let bank = expert.map { "expert/" + $0 } ?? "base"
    let written = try BundleExport(bundle).write(bank, to: output)
    report.print([
      "schema": 1, "path": .string(output), "bank": .string(bank),
      "files": .array(written.map(JSON.string)),
    ]) {
      Terminal.print("\(output.printable): \(bank.printable), \(written.count) files")
    }
  }
}
