import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// Options that say how tokens are chosen.
struct SamplingArguments: ParsableArguments {
  @Option(name: .long, help: "What logits are divided by; 0 always takes the most likely token.")
  var temperature: Double?

  @Option(name: .long, help: "Choose among the K most likely tokens.")
  var topK: Int?

  @Option(name: .long, help: "Choose among the most likely tokens that together have this probability.")
  var topP: Double?

  @Option(name: .long, help: "Choose among tokens at least this many times as likely as the most likely.")
  var minP: Double?

  @Option(name: .long, help: "Make tokens that the text already has less likely; 1 for not.")
  var repetitionPenalty: Double?

  @Option(name: .long, help: "Where the random numbers begin (default: 0); the same seed, the same text.")
  var seed: UInt64?

  func validate() throws {
    func require(_ value: Double?, _ name: String, _ range: ClosedRange<Double>) throws {
      guard let value, !range.contains(value) else { return }
      throw ValidationError("\(name) is from \(range.lowerBound) to \(range.upperBound).")
    }
    try require(temperature, "--temperature", 0...100)
    try require(topP, "--top-p", 0...1)
    try require(minP, "--min-p", 0...1)
    try require(repetitionPenalty, "--repetition-penalty", 0.01...100)
    if let topK, topK < 1 { throw ValidationError("--top-k is at least 1.") }
  }

  /// What was given, over what the checkpoint says.
  func options(over own: SamplingOptions) -> SamplingOptions {
    var options = own
    // Whoever asks for one of these wants the most likely token no longer.
    if own.temperature == 0, topK != nil || topP != nil || minP != nil { options.temperature = 1 }
    if let temperature { options.temperature = temperature }
    if let topK { options.topK = topK }
    if let topP { options.topP = topP }
    if let minP { options.minP = minP }
    if let repetitionPenalty { options.repetitionPenalty = repetitionPenalty }
    options.seed = seed ?? 0
    return options
  }
}

/// The command `lmoe-tool generate`.
struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Continue a text with the base, an expert, or all of them mixed token by token.",
    discussion: """
      Without --base, --expert, --weights, --uniform or --gate, the bundle's only gate weighs the experts, or \
      the one called default. Tokens are chosen as the checkpoint's generation_config.json says; if it says \
      nothing, always the most likely one.
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(
    name: .shortAndLong, parsing: .unconditionalSingleValue,
    help: "The text to continue; several are continued together.")
  var prompt: [String] = []

  @Option(
    name: .long, help: ArgumentHelp("Take the text from a file, or from stdin (-).", valueName: "path"),
    completion: .file())
  var promptFile: [String] = []

  @Flag(name: .long, help: "Take the text as a message to the model, in the form of its chat template.")
  var chat = false

  @Option(
    name: .long, parsing: .unconditional,
    help: ArgumentHelp("With --chat: what the model is told before the message.", valueName: "text"))
  var system: String?

  @Option(
    name: .long, help: ArgumentHelp("With --chat: which of the model's templates.", valueName: "name"))
  var template: String?

  @Option(name: [.customShort("n"), .customLong("max-tokens")], help: "The most tokens to add to a text.")
  var maxTokens = 128

  @Option(
    name: .long, parsing: .unconditionalSingleValue,
    help: "End before this string; it may be given several times.")
  var stop: [String] = []

  @Flag(name: .long, help: "Begin the text with the model's beginning token, where the tokenizer does not.")
  var bos = false

  @Flag(name: .long, help: "Go on where the model would end the text.")
  var ignoreEnd = false

  @Flag(name: .long, help: "Print the prompt before what follows it.")
  var echo = false

  @Flag(name: .long, help: "Colour each token, prompt and all, by its strongest expert.")
  var showRouting = false

  @Option(
    name: .long, help: ArgumentHelp("Write a page about the routing of the text.", valueName: "file"),
    completion: .file(extensions: ["html"]))
  var routingHtml: String?

  @Option(name: .long, help: "How keys and values are kept: f32, or f16 in half the memory.")
  var cache = KVCache.Precision.f32

  @Option(name: .long, help: "The longest text, in tokens; by default what the model was made for.")
  var context: Int?

  @OptionGroup var sampling: SamplingArguments
  @OptionGroup var select: SelectionOptions
  @OptionGroup var options: RunOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if prompt.isEmpty && promptFile.isEmpty {
      throw ValidationError("Say which text: -p \"…\", or --prompt-file PATH.")
    }
    if !chat, system != nil || template != nil {
      throw ValidationError("--system and --template go with --chat.")
    }
    if chat && bos {
      throw ValidationError("--bos goes without --chat: the template says how a text begins.")
    }
    if showRouting || routingHtml != nil {
      if prompt.count + promptFile.count > 1 {
        throw ValidationError("--show-routing and --routing-html are about one text.")
      }
      if select.base { throw ValidationError("--base has no experts whose routing could be shown.") }
    }
    if showRouting && report.json { throw ValidationError("--show-routing goes with text, not with --json.") }
    if maxTokens < 0 { throw ValidationError("--max-tokens is at least 0.") }
    if let context, context < 1 { throw ValidationError("--context is at least 1.") }
  }

  func run() throws {
    let texts = try prompt.map { Array($0.utf8) } + promptFile.map { try readWhole($0) }
    let bundle = try options.open(file)
    // Single-threaded, and long enough to matter before the first token.
    let reading = Meanwhile(isApart: options.pool.count > 1) { try Tokenizer(bundle: bundle) }
    let base = try options.load(bundle)
    let model = try Model(base, selection: try select.selection(in: bundle))
    let tokenizer = try reading.value()
    let settings = try TextSettings(bundle: bundle)
    let conversation = chat ? try Conversation(bundle, template: template, system: system) : nil
    let prompts = try texts.map { text in
      // A template writes the special tokens itself.
      if let conversation {
        return tokenizer.encode(try conversation.text(for: text), addingSpecialTokens: false)
      }
      let ids = tokenizer.encode(utf8: text, addingSpecialTokens: true)
      guard bos || ids.isEmpty, let begin = settings.beginToken, ids.first != begin else { return ids }
      return [begin] + ids
    }
    var generation = Generator.Options()
    generation.sampling = sampling.options(over: settings.sampling)
    generation.tokens = maxTokens
    generation.endTokens = ignoreEnd ? [] : settings.endTokens
    generation.cache = cache
    generation.context = context
    let generator = Generator(model, generation)
    let isStreaming = prompts.count == 1 && !report.json && !showRouting
    let printer = GenerationPrinter(tokenizer, stop: stop, count: prompts.count, isStreaming: isStreaming)
    if echo, isStreaming { printer.show(texts[0]) }
    var routing: RoutingPrinter?
    if showRouting || routingHtml != nil {
      let recorder = model.makeRecorder()
      generator.recorder = recorder
      routing = RoutingPrinter(tokenizer, recorder, prompt: prompts[0], isShown: showRouting)
    }
    try generator.run(prompts) { index, event in
      if case .token(let token) = event { routing?.take(token) }
      return printer.take(index, event)
    }
    routing?.finish()
    if let routingHtml { try routing?.writePage(routingHtml, bundle: file, model: model) }
    finish(printer, texts, prompts, generator.measurement)
  }

  private func finish(
    _ printer: GenerationPrinter, _ texts: [[UInt8]], _ prompts: [[Int]], _ measured: Generator.Measurement
  ) {
    report.print([
      "schema": 1, "path": .string(file),
      "texts": .array(
        printer.texts.indices.map { index in
          [
            "prompt": .string(String(decoding: texts[index], as: UTF8.self)),
            "prompt_tokens": .integer(prompts[index].count),
            "text": .string(String(decoding: printer.texts[index].bytes, as: UTF8.self)),
            "tokens": .array(printer.texts[index].tokens.map { .integer($0) }),
            "end": .string(printer.texts[index].end.rawValue),
          ]
        }),
      "prompt_seconds": .double(measured.promptSeconds), "seconds": .double(measured.seconds),
    ]) {
      if prompts.count == 1 {
        if !showRouting { printer.endLine() }
      } else {
        for (index, text) in printer.texts.enumerated() {
          Terminal.print(Terminal.bold("\(index + 1)."))
          if echo { printer.show(texts[index]) }
          printer.show(text.bytes)
          printer.endLine()
        }
      }
      summarise(measured, prompts.reduce(0) { $0 + $1.count }, count: prompts.count)
    }
  }

  /// How fast it was, for somebody who watches.
  private func summarise(_ measured: Generator.Measurement, _ promptTokens: Int, count: Int) {
    guard Terminal.showsProgress, Terminal.isLookedAt, measured.tokens > 0 else { return }
    let later = measured.tokens - count
    let rate =
      measured.seconds > 0 && later > 0 ? ", \(significant(Double(later) / measured.seconds)) tokens/s" : ""
    Terminal.complain(
      Terminal.dim(
        "\(promptTokens) tokens read in \(significant(measured.promptSeconds * 1000)) ms, \(measured.tokens) written\(rate)"
      ))
  }
}
