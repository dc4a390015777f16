import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool add`.
struct Add: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add",
    abstract: "Add PEFT adapters, or experts of other bundles, to a bundle.",
    discussion: """
      Only the new experts are written; the change takes effect at once and as a whole.

      NAME=DIR takes an adapter of PEFT or mlx-lm, NAME=FILE a LoRA in a GGUF file. NAME=FILE#EXPERT copies an expert of a bundle: its weights as they are \
      stored there, whatever --codec says, its files and its card. It keeps its id, unless that is taken here. \
      It must have been trained on this bundle's base, which its card tells.
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Argument(help: ArgumentHelp("Names of the experts, and where each comes from.", valueName: "name=source"))
  var experts: [ExpertArgument]

  @Option(name: .long, help: "How tensors are stored: planes is smaller, raw runs from the memory map.")
  var codec = CodecPolicy.planes

  @Flag(
    name: .long,
    help: "Take experts of another base, where names and shapes fit; they are recorded as mismatched.")
  var allowBaseMismatch = false

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if experts.isEmpty { throw ValidationError("Name at least one expert, as NAME=DIR or NAME=FILE#EXPERT.") }
  }

  func run() throws {
    var sources: [(name: String, source: ExpertSource)] = []
    for item in experts {
      try requireExpertName(item.name)
      let source = try ExpertSource(item.directory, on: { try Bundle(path: file).baseDescription().model })
      if case .adapter(let adapter) = source {
        noteLeftOut(item.directory, adapter.leftOut)
        noteUnknownKeys(item.directory, "adapter_config.json", adapter.unknownKeys)
      }
      sources.append((item.name, source))
    }
    let progress = ProgressBar("add", total: sources.reduce(0) { $0 + $1.source.rawBytes })
    let writer = try BundleWriter(
      appendingTo: file, options: write.writerOptions(codec: codec, progress: progress))
    defer { progress.finish() }
    // Only what comes from outside has to be resolved on a model: an expert of a bundle fits by its card.
    var base: BaseDescription?
    var mismatched: [StoredExpert] = []
    for (name, source) in sources {
      switch source {
      case .adapter(let adapter):
        let known = try base ?? writer.baseDescription()
        base = known
        note(adapter.path, try writer.addExpert(adapter, named: name, on: known).notes)
      case .stored(let expert):
        let added = try writer.addExpert(copying: expert, named: name, allowsMismatch: allowBaseMismatch)
        if added.isMismatched {
          mismatched.append(expert)
        } else {
          noteOtherConfiguration(expert, writer.base)
        }
      }
    }
    let names = sources.map { "expert/" + $0.name }
    let notes = sources.map { "expert/\($0.name)\($0.source.origin)" }
    let written = try writer.commit(note: "add " + notes.joined(separator: ", "))
    progress.finish()
    for case (_, .adapter(let adapter)) in sources { noteOtherBaseName(adapter, importedFrom: base?.name) }
    for expert in mismatched {
      Terminal.complain(
        "Note: \(expert.path.printable) was trained on another base; it is recorded as mismatched.")
    }
    let unaware = noteUnawareGates(file, of: sources.map(\.name))
    report.printChange(
      file, writer, written: written, "added \(names.joined(separator: ", "))", [("unaware_gates", unaware)])
  }
}

extension ReportOptions {
  /// Says what a change did and what it wrote.
  ///
  /// - Parameters:
  ///   - facts: What `--json` says besides.
  ///   - lines: What the text says besides.
  func printChange(
    _ file: String, _ writer: BundleWriter, written: UInt64, _ what: String,
    _ facts: [(String, JSON)] = [], lines: [String] = []
  ) {
    let change: [(String, JSON)] = [
      ("schema", 1), ("path", .string(file)), ("generation", .integer(writer.generation)),
      ("written_bytes", .integer(written)), ("change", .string(what)),
    ]
    print(.object(change + facts)) {
      Terminal.print(
        "\(file.printable): \(what.printable); \(formatted(bytes: written)) written, "
          + "generation \(writer.generation)")
      for line in lines { Terminal.print(line) }
    }
  }
}

/// Says on stderr which gates do not know experts that were just added.
///
/// - Returns: The same, as `--json` has it.
func noteUnawareGates(_ file: String, of names: [String]) -> JSON {
  // The change stands; a gate that cannot be read is not the business of those who add experts.
  guard let bundle = try? Bundle(path: file) else { return [] }
  let added = Set(names.map { ByteKey($0) })
  var found: [JSON] = []
  for bank in bundle.banks(ofKind: "gate") {
    guard let status = try? bundle.gate(named: bank.shortName).status else { continue }
    let unaware = status.unaware.filter { added.contains(ByteKey($0)) }
    guard !unaware.isEmpty else { continue }
    note(
      file,
      [
        "gate/\(bank.shortName) is unaware of \(unaware.joined(separator: ", ")), and gives weight 0; make it "
          + "anew (\"lmoe-tool gate init\" with --name \(bank.shortName) --force) or train it"
      ])
    found.append(
      ["gate": .string(bank.shortName), "experts": .array(unaware.map(JSON.string))])
  }
  return .array(found)
}
