import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// `NAME=PATH`, or a path alone, which then goes by the name of its file.
struct DataArgument: ExpressibleByArgument, Sendable {
  let domain: String
  let path: String

  init?(argument: String) {
    if let named = ExpertArgument(argument: argument) {
      (domain, path) = (named.name, named.directory)
    } else {
      guard !argument.isEmpty else { return nil }
      path = argument
      let file = argument.split(separator: "/").last.map(String.init) ?? argument
      domain = file.split(separator: ".").first.map(String.init) ?? file
    }
  }
}

/// The command `lmoe-tool eval`.
struct Eval: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "Measure what texts cost: nats per token and perplexity, by kind of text.",
    discussion: """
      Texts are plain files, each one text, or JSON lines (.jsonl) with "text"; with "prompt" and \
      "completion", of which the completion is scored; or with "messages" in the form of the base's chat \
      template, of which the assistant's are scored. A line's "domain" says what kind of text it is. The first \
      token of a text is not scored.

      --compare takes base, uniform, each (every expert outright), gate (the bundle's own), gate:NAME and names \
      of experts, with commas between them, and prints one table.
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(
    name: .long,
    help: ArgumentHelp("A text or JSON lines; NAME= says what kind of text.", valueName: "[name=]path"),
    completion: .file())
  var data: [DataArgument] = []

  @Option(
    name: .long,
    help: ArgumentHelp("What to compare, instead of one choice of experts.", valueName: "base,each,gate,…"))
  var compare: String?

  @Option(
    name: .long,
    help: ArgumentHelp("A special token to put before and after each text.", valueName: "token"))
  var between: String?

  @Option(name: .long, help: "The most texts to take of each kind.")
  var limit: Int?

  @Option(
    name: .long, help: "The longest part that is scored at once, in tokens; by default the model's context.")
  var context: Int?

  @Flag(name: .long, help: "Print perplexities in the table of --compare.")
  var perplexity = false

  @OptionGroup var select: SelectionOptions
  @OptionGroup var options: RunOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if data.isEmpty { throw ValidationError("Say which text: --data PATH, or --data NAME=PATH.") }
    if compare != nil, select.isGiven {
      throw ValidationError("--compare says which experts; it goes with no other choice of them.")
    }
    if let limit, limit < 1 { throw ValidationError("--limit is at least 1.") }
    if let context, context < 2 { throw ValidationError("--context is at least 2.") }
  }

  func run() throws {
    let base = try options.load(file)
    let tokenizer = try Tokenizer(bundle: base.bundle)
    let boundary = try between.map { try token($0, of: tokenizer) }
    var heldOut = HeldOut(
      TextCoding(tokenizer, between: boundary), chat: ChatForm(bundle: base.bundle), limit: limit ?? .max)
    for item in data { try heldOut.add(try readWhole(item.path), of: item.path, domain: item.domain) }
    let samples = heldOut.groups
    let choices = try self.choices(in: base.bundle)
    let tokens = samples.reduce(0) { $0 + $1.samples.reduce(0) { $0 + $1.tokens.count } } * choices.count
    let progress = ProgressBar(base.bundle.path, total: UInt64(tokens), unit: .tokens)
    var rows: [EvaluationReport.Row] = []
    for choice in choices {
      let model = try Model(base, selection: choice.selection)
      rows.append(
        EvaluationReport.Row(
          name: choice.name,
          results: try samples.map {
            try Evaluation.of($0.samples, by: model, context: context ?? model.configuration.maximumPositions)
            {
              progress.advance(UInt64($0))
            }
          }))
    }
    progress.finish()
    let result = EvaluationReport(domains: samples.map(\.domain), rows: rows)
    report.print(result.json(path: file)) {
      for line in compare == nil ? result.single : result.table(perplexity: perplexity) {
        Terminal.print(line)
      }
    }
  }

  private func token(_ text: String, of tokenizer: Tokenizer) throws -> Int {
    guard let id = tokenizer.number(of: text) else {
      throw RuntimeError(.invalidData, path: file, found: "the tokenizer has no token \(text.printable)")
    }
    return id
  }

  private func choices(in bundle: Bundle) throws -> [(name: String, selection: Selection)] {
    guard let compare else {
      let selection = try select.selection(in: bundle)
      return [(selection.title, selection)]
    }
    return try compare.utf8.split(separator: UInt8(ascii: ",")).flatMap { part in
      let word = String(decoding: part, as: UTF8.self)
      switch word {
      case "base": return [("base", Selection.base)]
      case "uniform": return [("uniform", .uniform)]
      case "each": return bundle.banks(ofKind: "expert").map { ($0.shortName, .expert($0.shortName)) }
      case "gate":
        guard let gate = try bundle.defaultGate() else {
          throw RuntimeError(.noSuchGate, path: file, name: "", found: "none")
        }
        return [(Selection.gate(gate.name).title, .gate(gate.name))]
      default:
        if word.utf8.starts(with: "gate:".utf8) {
          let selection = Selection.gate(String(decoding: part.dropFirst(5), as: UTF8.self))
          return [(selection.title, selection)]
        }
        return [(word, .expert(word))]
      }
    }
  }
}

extension Selection {
  /// What to call it in a report.
  var title: String {
    switch self {
    case .base: "base"
    case .expert(let name): name
    case .weights(let experts): experts.map { "\($0.name)=\(shortest($0.weight))" }.joined(separator: ",")
    case .uniform: "uniform"
    case .gate(let name): "gate:" + name
    }
  }
}
