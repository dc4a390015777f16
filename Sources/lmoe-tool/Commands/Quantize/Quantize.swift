import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// `embed,head`: tensors that stay as they are.
struct KeptArgument: ExpressibleByArgument, Sendable {
  let classes: [TensorClass]

  private static let names: [(name: String, value: TensorClass)] = [
    ("embed", .embedding), ("embedding", .embedding), ("head", .head), ("attention", .attention),
    ("mlp", .mlp), ("other", .other),
  ]

  init?(argument: String) {
    var classes: [TensorClass] = []
    for part in argument.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      let word = String(decoding: part, as: UTF8.self)
      guard let found = Self.names.first(where: { $0.name.hasSameBytes(as: word) }) else { return nil }
      classes.append(found.value)
    }
    self.classes = classes
  }
}

/// The command `lmoe-tool quantize`.
struct Quantize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Store the base, the experts or both in fewer bits.",
    discussion: """
      Types: q8_0, q6_k, q4_k and q4_0 are llama.cpp's blocks, nf4 is that of bitsandbytes with double \
      quantization, i8 has a scale for each row, i4-32, i4-64 and i4-128 a scale and a zero for groups of so \
      many weights. Vectors, gates, magnitudes, embeddings of experts and whole tensors that experts bring \
      stay as they are, as does a matrix whose rows are not whole blocks. Experts keep their ids, and fit the \
      quantized base as they fit the original.

      Without --output the result is a new generation of the bundle: the original stays in it until "compact". \
      --eval prints what texts cost before and after. --calibrate weighs each error of i4 types by what goes \
      into the layer when the base reads that text.
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(name: .long, help: "What the base's matrices become.")
  var base: QuantizedType?

  @Option(name: .long, help: "What the experts' factors become.")
  var experts: QuantizedType?

  @Option(
    name: .long, help: "An expert to quantize; may be given several times (default: all).",
    completion: Completions.experts)
  var expert: [String] = []

  @Option(
    name: .long,
    help: ArgumentHelp(
      "What of the base stays as it is: embed, head, attention, mlp, other.", valueName: "embed,head,…"))
  var keep: KeptArgument?

  @Option(
    name: .long, help: ArgumentHelp("A text to measure before and after.", valueName: "[name=]path"),
    completion: .file())
  var eval: [DataArgument] = []

  @Option(
    name: .long, help: ArgumentHelp("A text of the kind that the base is for.", valueName: "path"),
    completion: .file())
  var calibrate: [DataArgument] = []

  @Option(name: .long, help: "The most tokens of it to read.")
  var calibrateTokens: Int = 16_384

  @Option(name: .shortAndLong, help: "Write another bundle, without history, and leave this one alone.")
  var output: String?

  @Option(name: .long, help: "Threads; all cores if not given.")
  var threads: Int?

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if base == nil && experts == nil {
      throw ValidationError("Say what to quantize: --base TYPE, --experts TYPE or both.")
    }
    if !expert.isEmpty && experts == nil { throw ValidationError("--expert goes with --experts TYPE.") }
    if keep != nil && base == nil { throw ValidationError("--keep goes with --base TYPE.") }
    if !calibrate.isEmpty && base?.takesImportance != true {
      throw ValidationError("--calibrate goes with --base i4-32, i4-64 or i4-128.")
    }
    if calibrateTokens < 1 { throw ValidationError("--calibrate-tokens is at least 1.") }
    if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads is 1 to 1024.") }
    if let output, output.isEmpty { throw ValidationError("--output needs a path.") }
  }

  private var pool: WorkerPool { threads.map { WorkerPool(count: $0) } ?? .shared }

  func run() throws {
    if let output, PosixFileSystem().kind(output) != nil {
      throw FormatError(.alreadyExists, path: output)
    }
    var quantization = Quantization()
    (quantization.base, quantization.experts) = (base, experts)
    quantization.names = expert.isEmpty ? nil : expert
    quantization.kept = Set(keep?.classes ?? [])
    let bundle = try Bundle(path: file)
    // What cannot be done should be known before a model reads texts for it.
    let total = try quantization.rawBytes(of: bundle, isCopy: output != nil)
    let texts = eval.isEmpty ? nil : try PerplexityChange(bundle, eval)
    let before = try texts?.measure(bundle, on: pool)
    if !calibrate.isEmpty {
      quantization.importance = try calibration(bundle, calibrate, most: calibrateTokens, on: pool)
    }
    let progress = ProgressBar("quantize", total: total)
    defer { progress.finish() }
    // Blocks have nothing to compress, and raw ones run from the memory map.
    var options = write.writerOptions(codec: .raw, progress: progress)
    options.pool = pool
    let result = try quantization.run(file, output: output, options: options)
    progress.finish()
    let after = try texts?.measure(try Bundle(path: output ?? file), on: pool)
    let printer = QuantizationPrinter(
      result, fileBefore: bundle.fileBytes, fileAfter: try Bundle(path: output ?? file).fileBytes,
      texts: texts, before: before, after: after)
    note(output ?? file, result.notes)
    report.print(printer.json) { for line in printer.lines { Terminal.print(line) } }
  }
}
