import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool import`.
struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Make a bundle of a base model and LoRA adapters.",
    discussion: """
      The checkpoint may be one safetensors file or shards with their index. Configuration, tokenizer and \
      all other small files are kept verbatim; "export" gives every file back byte for byte.

      The base may be a GGUF file too: its tensors are kept in the types they have there, under the names and in \
      the order that a checkpoint has, and configuration and tokenizer are made from its keys.
      """)

  /// What gate a fresh bundle gets.
  enum GateChoice: String, CaseIterable, ExpressibleByArgument { case uniform, none }

  @Option(
    name: .long,
    help: ArgumentHelp("The directory of the base model, or its GGUF file.", valueName: "dir|file"),
    completion: .file())
  var base: String

  @Option(
    name: .long,
    help: ArgumentHelp("An adapter to add as an expert: of PEFT, mlx-lm or GGUF.", valueName: "name=dir"),
    completion: .directory)
  var expert: [ExpertArgument] = []

  @Option(
    name: .long,
    help: ArgumentHelp(
      "An X-LoRA model: its adapters are added under their names, its classifier is not.", valueName: "dir"),
    completion: .directory)
  var xlora: String?

  @Option(name: .shortAndLong, help: "The bundle to make.", completion: .file(extensions: ["lmoe"]))
  var output: String

  @Option(name: .long, help: "The gate of the fresh bundle.")
  var gate = GateChoice.uniform

  @Option(name: .long, help: "How tensors are stored: planes is smaller, raw runs from the memory map.")
  var codec = CodecPolicy.planes

  @Flag(name: .long, help: "Record the base's names, shapes and hashes only, not its weights.")
  var noEmbedBase = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "A key of config.json that changes nothing, although its name suggests it.", valueName: "key"))
  var ignoreKey: [String] = []

  @Flag(name: .long, help: "Replace an existing file.")
  var force = false

  @OptionGroup var report: ReportOptions

  func validate() throws {
    if output.isEmpty { throw ValidationError("--output needs a path.") }
  }

  func run() throws {
    let system = PosixFileSystem()
    try requireFree(output, in: system)
    let source = try BaseSource(base, ignoring: ignoreKey, in: system)
    var adapters: [(name: String, adapter: PEFTAdapter)] = []
    let expert = try self.expert + xloraExperts(in: system)
    for (index, item) in expert.enumerated() {
      try requireExpertName(item.name)
      if expert[..<index].contains(where: { $0.name.hasSameBytes(as: item.name) }) {
        throw FormatError(.bankExists, path: output, bank: "expert/" + item.name)
      }
      let adapter = try PEFTAdapter(opening: item.directory, on: { source.base.model }, in: system)
      noteLeftOut(item.directory, adapter.leftOut)
      noteUnknownKeys(item.directory, "adapter_config.json", adapter.unknownKeys)
      adapters.append((item.name, adapter))
    }
    // What does not fit is refused before the base is encoded, which may take hours.
    for item in adapters { try item.adapter.check(on: source.base) }
    let total =
      source.rawBytes
      + adapters.flatMap(\.adapter.file.tensors).reduce(UInt64(0)) { $0 + UInt64($1.type.rawBytes) }
    let progress = ProgressBar("import", total: total)
    let writer = try BundleWriter(
      creating: output, options: WriteOptions.defaults.writerOptions(codec: codec, progress: progress),
      in: system)
    do {
      let description = try source.add(to: writer, embeds: !noEmbedBase, ignoredKeys: ignoreKey)
      for (name, adapter) in adapters {
        note(adapter.path, try writer.addExpert(adapter, named: name, on: description).notes)
      }
      if gate == .uniform { try writer.addUniformGate() }
      // Somebody else may have made the file meanwhile.
      try requireFree(output, in: system)
      try writer.commit(note: "import \(Self.lastComponent(base))")
    } catch {
      writer.abort()
      progress.finish()
      throw error
    }
    progress.finish()
    for item in adapters { noteOtherBaseName(item.adapter, importedFrom: base) }
    let bundle = try Bundle(path: output)
    report.print([
      "schema": 1, "path": .string(output), "generation": .integer(bundle.generation),
      "file_bytes": .integer(bundle.fileBytes), "raw_bytes": .integer(total),
      "banks": .array(bundle.banks.map { .string($0.name) }),
    ]) {
      let share = formatted(100 * Double(bundle.fileBytes) / Double(max(total, 1)), digits: 1)
      Terminal.print(
        "\(output.printable): \(formatted(bytes: bundle.fileBytes)) of \(formatted(bytes: total)) (\(share) %), "
          + "base and \(adapters.count) expert\(adapters.count == 1 ? "" : "s")")
    }
  }

  /// The adapters of the X-LoRA model, by their names there.
  private func xloraExperts(in system: PosixFileSystem) throws -> [ExpertArgument] {
    guard let xlora else { return [] }
    guard let model = try XLoRADirectory(xlora, in: system) else {
      throw ExpertError(
        .noConfiguration, path: xlora, expected: "xlora_config.json, nor an adapter_config.json of that kind")
    }
    note(xlora, [model.leftOut])
    return model.adapters.map { ExpertArgument(name: $0.name, directory: $0.path) }
  }

  private func requireFree(_ path: String, in system: PosixFileSystem) throws {
    switch system.kind(path) {
    case nil: break
    case .file where force: break
    default: throw FormatError(.alreadyExists, path: path)
    }
  }

  static func lastComponent(_ path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? path
  }
}

extension WriteOptions {
  /// What a command without these flags uses.
  static var defaults: WriteOptions { (try? WriteOptions.parse([])) ?? WriteOptions() }
}
