import ArgumentParser
import LMoECore
import LMoEFormat

/// The command `lmoe-tool compact`.
struct Compact: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compact",
    abstract: "Rewrite a bundle with only what is live, optionally in another codec.",
    discussion: "Drops history unless told otherwise. Needs room for the new file beside the old one.")

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(name: .long, help: "Convert all tensors: planes is smaller, raw runs from the memory map.")
  var codec: CodecPolicy?

  @Flag(name: .long, help: "Carry all generations along.")
  var keepHistory = false

  @Option(name: .shortAndLong, help: "Write to another file and leave the bundle alone.")
  var output: String?

  @Flag(name: .long, help: "Start from the newest whole generation of a damaged file; needs --output.")
  var recover = false

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if recover && output == nil { throw ValidationError("--recover needs --output.") }
    if keepHistory && codec != nil {
      throw ValidationError("--keep-history and --codec cannot be used together.")
    }
  }

  func run() throws {
    if let output, PosixFileSystem().kind(output) != nil {
      throw FormatError(.alreadyExists, path: output)
    }
    var reading = BundleOptions()
    reading.recovers = recover
    let live = try Bundle(path: file, options: reading).banks.reduce(UInt64(0)) { $0 + $1.logicalBytes }
    let progress = ProgressBar("compact", total: live)
    defer { progress.finish() }
    var compaction = Compaction()
    compaction.codec = codec
    compaction.keepsHistory = keepHistory
    compaction.recovers = recover
    compaction.options = write.writerOptions(progress: progress)
    let result = try compaction.run(file, output: output)
    progress.finish()
    let path = output ?? file
    report.print([
      "schema": 1, "path": .string(path), "generation": .integer(result.generation),
      "bytes_before": .integer(result.bytesBefore), "bytes_after": .integer(result.bytesAfter),
    ]) {
      Terminal.print(
        "\(path.printable): \(formatted(bytes: result.bytesBefore)) → \(formatted(bytes: result.bytesAfter)), "
          + "generation \(result.generation)")
    }
  }
}
