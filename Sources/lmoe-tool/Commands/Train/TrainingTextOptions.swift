public import ArgumentParser
import LMoECore
import LMoEExperts
public import LMoERuntime

/// `NAME=2.5`: a kind of text and how often it comes.
struct DomainWeight: ExpressibleByArgument, Sendable {
  let domain: String
  let weight: Double

  init?(argument: String) {
    guard let pair = ExpertArgument(argument: argument), let weight = Double(pair.directory), weight > 0,
      weight.isFinite
    else { return nil }
    (domain, self.weight) = (pair.name, weight)
  }
}

extension LongDocuments: ExpressibleByArgument {}

/// Options that say what to learn from.
struct TrainingTextOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "A text, JSON lines (\"text\"; \"prompt\" and \"completion\"; \"messages\") or a directory; NAME= says what kind of text.",
      valueName: "[name=]path"),
    completion: .file())
  var data: [DataArgument] = []

  @Option(
    name: .long,
    help: ArgumentHelp(
      "How often a kind of text comes, beside others; by its size if not given.", valueName: "name=number"))
  var weight: [DomainWeight] = []

  @Option(
    name: .long,
    help: ArgumentHelp("Held-out texts to evaluate with.", valueName: "[name=]path"), completion: .file())
  var evalData: [DataArgument] = []

  @Option(name: .long, help: "The most held-out texts of each kind.")
  var evalLimit = 100

  @Option(
    name: .long, help: ArgumentHelp("A special token to put before and after each text.", valueName: "token"))
  var between: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "A special token to end each text with; the model's own if not given.", valueName: "token"))
  var end: String?

  @Flag(name: .long, help: "Do not end texts with a token.")
  var noEnd = false

  @Option(
    name: .long, help: "The longest sequence in tokens; the model's context, at most 1024, if not given.")
  var context: Int?

  @Option(name: .long, help: "What becomes of longer texts: they are learned in parts, cut, or refused.")
  var long = LongDocuments.split

  @Flag(name: .long, help: "Take texts in their own order.")
  var noShuffle = false

  func validate() throws {
    if let context, context < 2 { throw ValidationError("--context is at least 2.") }
    if evalLimit < 1 { throw ValidationError("--eval-limit is at least 1.") }
    if between != nil, end != nil { throw ValidationError("Give one of --between and --end.") }
  }

  /// How texts become tokens.
  struct Coding {
    let between: Int?
    let end: Int?
    let context: Int
  }

  func coding(_ tokenizer: Tokenizer, _ base: LoadedBase, _ path: String) throws -> Coding {
    func token(_ text: String) throws -> Int {
      guard let id = tokenizer.number(of: text) else {
        throw RuntimeError(.invalidData, path: path, found: "the tokenizer has no token \(text.printable)")
      }
      return id
    }
    let limit = base.description.model.maximumPositions
    if let context, context > limit {
      throw RuntimeError(
        .invalidData, path: path, found: "the model was made for \(limit) tokens, and --context is \(context)"
      )
    }
    let own = between == nil && !noEnd ? try TextSettings(bundle: base.bundle).endTokens.min() : nil
    return Coding(
      between: try between.map(token), end: try end.map(token) ?? own, context: context ?? min(limit, 1024))
  }

  /// Where the texts are.
  func sources(_ path: String) throws -> [TrainingSource] {
    for item in weight where !data.contains(where: { $0.domain.hasSameBytes(as: item.domain) }) {
      throw RuntimeError(
        .invalidData, path: path, found: "--weight names \(item.domain.printable), and no --data does")
    }
    return data.map { item in
      TrainingSource(
        path: item.path, domain: item.domain,
        weight: weight.isEmpty
          ? nil : weight.last { $0.domain.hasSameBytes(as: item.domain) }?.weight ?? 1)
    }
  }

  /// The held-out texts; nil without any.
  func heldOut(_ tokenizer: Tokenizer, _ base: LoadedBase, _ coding: Coding) throws -> HeldOut? {
    guard !evalData.isEmpty else { return nil }
    var heldOut = HeldOut(
      TextCoding(tokenizer, between: coding.between, end: coding.end), chat: ChatForm(bundle: base.bundle),
      limit: evalLimit)
    for item in evalData { try heldOut.add(TrainingSource(path: item.path, domain: item.domain)) }
    return heldOut
  }
}
