import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool export`.
struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Write the base, an expert or a part of the bundle out.",
    discussion: """
      hf and peft write the directory that the base or the expert came from; files that were not changed come \
      back byte for byte. lmoe writes another bundle, with all experts or those named, and the gates, less what \
      they say of experts left behind. Weights go over as they are stored; history stays behind.

      gguf writes the base as one file for llama.cpp, with its tokenizer and chat template, and gguf-lora an \
      expert as an adapter for it; what llama.cpp would compute otherwise is refused, or said in a note. mlx \
      writes an expert as an adapter of mlx-lm; xlora the experts and a constant gate as an X-LoRA model.

      With --no-base the new bundle has the base's names, shapes, hashes, configuration and tokenizer, and not \
      its weights. --base names the checkpoint or bundle that has them, for --to hf, or for --to lmoe to take \
      them in again; every tensor's hash is checked.
      """)

  /// What to write.
  enum Format: String, CaseIterable, ExpressibleByArgument {
    case hf, peft, lmoe, gguf
    case ggufLora = "gguf-lora"
    case mlx, xlora
  }

  /// Types that floats are written in.
  enum FloatType: String, CaseIterable, ExpressibleByArgument {
    case bf16, f16, f32

    var dtype: DType {
      switch self {
      case .bf16: .bf16
      case .f16: .f16
      case .f32: .f32
      }
    }
  }

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(
    name: .long,
    help:
      "hf: the base as a Hugging Face checkpoint; peft, mlx: an expert as an adapter; xlora: experts and a gate; gguf, gguf-lora: base or expert for llama.cpp; lmoe: a bundle."
  )
  var to: Format

  @Option(
    name: .long,
    help: "The expert to write, for --to peft; one of the experts, for --to lmoe (default: all).",
    completion: Completions.experts)
  var expert: [String] = []

  @Flag(
    name: .long,
    help: "For --to peft: write the adapter anew from the bundle's table, in the form that PEFT 0.6 reads.")
  var rewrite = false

  @Option(
    name: .long,
    help:
      "For --to hf, peft, xlora: write what is quantized as floats, and all floats in this type: bf16, f16, f32."
  )
  var dequantize: FloatType?

  @Option(
    name: .long,
    help:
      "For --to gguf: the element type of matrices (default: as-stored); for --to gguf-lora: f32 (default), f16 or bf16."
  )
  var type: GGUFElement?

  @Flag(name: .long, help: "For --to gguf: leave the tokenizer out.")
  var noTokenizer = false

  @Option(name: .long, help: "For --to xlora: the gate to write, a constant one.")
  var gate: String?

  @Option(name: .long, help: "For --to xlora: that of the original package (the default), or PEFT's.")
  var layout: BundleExport.XLoRALayout?

  @Flag(name: .long, help: "Leave the base's weights out; its configuration and tokenizer travel along.")
  var noBase = false

  @Option(
    name: .long,
    help: ArgumentHelp("Where the weights of a base are that is not in the file.", valueName: "dir|file"))
  var base: String?

  @Option(name: .shortAndLong, help: "The directory or file to make.", completion: .directory)
  var output: String

  @OptionGroup var read: ReadOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if to == .peft && expert.isEmpty { throw ValidationError("--to peft needs --expert NAME.") }
    if to == .peft && expert.count > 1 { throw ValidationError("--to peft writes one expert.") }
    if to == .hf && !expert.isEmpty {
      throw ValidationError("--to hf writes the base; --expert goes with --to peft and --to lmoe.")
    }
    if rewrite && to != .peft { throw ValidationError("--rewrite goes with --to peft.") }
    if dequantize != nil && ![.hf, .peft, .xlora].contains(to) {
      throw ValidationError("--dequantize goes with --to hf, peft and xlora.")
    }
    if noBase && to != .lmoe { throw ValidationError("--no-base goes with --to lmoe.") }
    if base != nil && ![.hf, .lmoe, .gguf].contains(to) {
      throw ValidationError("--base goes with --to hf, --to gguf and --to lmoe.")
    }
    try validateFormats()
    if base != nil && noBase { throw ValidationError("--base and --no-base cannot be used together.") }
    if output.isEmpty { throw ValidationError("--output needs a path.") }
  }

  func run() throws {
    let bundle = try Bundle(path: file, options: read.bundleOptions)
    let resolved = try base.map { try ResolvedBase(bundle, at: $0) }
    if let base, let resolved, resolved.holder === bundle {
      Terminal.complain("Note: the base is in \(file.printable); \(base.printable) is not needed.")
    }
    switch to {
    case .lmoe: return try writeBundle(bundle, resolved)
    case .gguf: return try writeGGUF(bundle, resolved)
    case .ggufLora: return try writeGGUFLoRA(bundle)
    case .mlx: return try writeMLX(bundle)
    case .xlora: return try writeXLoRA(bundle)
    case .hf, .peft: break
    }
    let bank = expert.first.map { "expert/" + $0 } ?? "base"
    var export = BundleExport(bundle, base: resolved)
    export.dequantization = dequantize.flatMap { Dequantization($0.dtype) }
    printFiles(bank, try write(bank, of: export))
  }

  private func write(_ bank: String, of export: BundleExport) throws -> [String] {
    guard let name = expert.first, try rewrite || dequantize != nil || !export.hasOriginals(name)
    else {
      return try export.write(bank, to: output)
    }
    let (files, notes) = try export.writeAdapter(name, to: output)
    note(output, notes)
    return files
  }

  private func writeBundle(_ bundle: Bundle, _ resolved: ResolvedBase?) throws {
    let system = PosixFileSystem()
    func requireFree() throws {
      if system.kind(output) != nil { throw FormatError(.alreadyExists, path: output) }
    }
    try requireFree()
    var subset = BundleSubset()
    subset.experts = expert.isEmpty ? nil : expert
    if noBase { subset.base = .withoutWeights }
    if let resolved { subset.base = .embedded(resolved) }
    let progress = ProgressBar("export", total: subset.rawBytes(of: bundle))
    defer { progress.finish() }
    let writer = try BundleWriter(
      creating: output, options: WriteOptions.defaults.writerOptions(progress: progress), in: system)
    defer { writer.abort() }
    let changes = try subset.write(bundle, to: writer)
    // Somebody else may have made the file meanwhile.
    try requireFree()
    try writer.commit(note: "export from \(Import.lastComponent(file))")
    progress.finish()
    note(output, changes.map(\.description))
    let made = try Bundle(path: output)
    report.print([
      "schema": 1, "path": .string(output), "generation": .integer(made.generation),
      "file_bytes": .integer(made.fileBytes), "banks": .array(made.banks.map { .string($0.name) }),
    ]) {
      let count = made.banks(ofKind: "expert").count
      let base = made.root.bank("base").map { $0.isExternal ? "base without weights" : "base" } ?? "no base"
      Terminal.print(
        "\(output.printable): \(formatted(bytes: made.fileBytes)), \(base) and \(count) "
          + "expert\(count == 1 ? "" : "s")")
    }
  }
}
