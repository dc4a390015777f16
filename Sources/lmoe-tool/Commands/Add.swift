import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool add`.
struct Add: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Add PEFT adapters to a bundle as experts.",
    discussion: "Only the new experts are written; the change takes effect at once and as a whole.")

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Argument(help: ArgumentHelp("Names and directories of the experts.", valueName: "name=dir"))
  var experts: [ExpertArgument]

  @Option(name: .long, help: "How tensors are stored: planes is smaller, raw runs from the memory map.")
  var codec = CodecPolicy.planes

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if experts.isEmpty { throw ValidationError("Name at least one expert, as NAME=DIR.") }
  }

  func run() throws {
    var adapters: [(name: String, adapter: PEFTAdapter)] = []
    for item in experts {
      try requireExpertName(item.name)
      let adapter = try PEFTAdapter(path: item.directory)
      noteLeftOut(item.directory, adapter.leftOut)
      noteUnknownKeys(item.directory, "adapter_config.json", adapter.unknownKeys)
      adapters.append((item.name, adapter))
    }
    let total = adapters.flatMap(\.adapter.file.tensors).reduce(UInt64(0)) { $0 + UInt64($1.type.rawBytes) }
    let progress = ProgressBar("add", total: total)
    let writer = try BundleWriter(
      appendingTo: file, options: write.writerOptions(codec: codec, progress: progress))
    defer { progress.finish() }
    let base = try writer.baseDescription()
    for (name, adapter) in adapters {
      note(adapter.path, try writer.addExpert(adapter, named: name, on: base).notes)
    }
    let names = adapters.map { "expert/" + $0.name }
    let written = try writer.commit(note: "add " + names.joined(separator: ", "))
    progress.finish()
    report.printChange(file, writer, written: written, "added \(names.joined(separator: ", "))")
  }
}

extension ReportOptions {
  /// Says what a change did and what it wrote.
  func printChange(_ file: String, _ writer: BundleWriter, written: UInt64, _ what: String) {
    print([
      "schema": 1, "path": .string(file), "generation": .integer(writer.generation),
      "written_bytes": .integer(written), "change": .string(what),
    ]) {
      Terminal.print(
        "\(file.printable): \(what.printable); \(formatted(bytes: written)) written, "
          + "generation \(writer.generation)")
    }
  }
}
