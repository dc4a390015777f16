public import LMoECore

/// Documents of several sources as tokens, in an order that a seed says, without an end.
///
/// Files are indexed and not held in memory. No sequence is padded, and none has tokens of two documents.
public final class TrainingStream {
  /// How documents become sequences.
  public struct Settings: Hashable, Sendable {
    /// The longest sequence.
    public var context: Int
    /// A token to put before and after each document.
    public var between: Int?
    /// Where there is no such token, one to end each document with.
    public var end: Int?
    /// What becomes of longer documents.
    public var long = LongDocuments.split
    /// What the order follows from.
    public var seed: UInt64 = 0
    /// Whether the documents of a source come in another order in each epoch, and not in their own.
    public var isShuffled = true

    /// Shuffled with seed 0, longer documents split, without tokens between.
    public init(context: Int) { self.context = context }
  }

  /// The document that sequences are taken from.
  struct Current {
    let source: Int
    let sequences: [TrainingSequence]
    /// The next one to be given out.
    var part: Int
  }

  let settings: Settings
  let sources: [SourceFiles]
  let opened: OpenFiles
  private let coding: TextCoding
  private let chat: ChatForm
  private var order: DocumentOrder
  /// Documents drawn from each source.
  var drawn: [Int]
  var current: Current?
  /// Documents drawn from each source since the last one with a target.
  private var barren: [Int]

  /// Documents that had nothing to learn, or nothing within the context.
  public internal(set) var documentsSkipped = 0

  /// Indexes the sources.
  ///
  /// - Parameters:
  ///   - sources: At least one.
  ///   - settings: How documents become sequences.
  ///   - tokenizer: The model's.
  ///   - chat: How messages become text.
  ///   - files: Where the files are.
  /// - Throws: `FileError`; `RuntimeError` with `invalid-data` for sources without documents and for weights
  ///   that are none.
  public init(
    _ sources: [TrainingSource], settings: Settings, tokenizer: Tokenizer, chat: ChatForm = .none,
    files: any FileSystem = PosixFileSystem()
  ) throws {
    let opened = OpenFiles(files)
    guard let first = sources.first else {
      throw RuntimeError(.invalidData, path: "the training data", found: "there is none")
    }
    for source in sources where (source.weight == nil) != (first.weight == nil) {
      throw RuntimeError(
        .invalidData, path: source.path, found: "give all sources a weight, or none of them")
    }
    for source in sources {
      guard let weight = source.weight, !(weight > 0 && weight.isFinite) else { continue }
      throw RuntimeError(
        .invalidData, path: source.path, found: "a weight of \(weight) is none; give one above 0")
    }
    self.settings = settings
    self.opened = opened
    self.chat = chat
    self.sources = try sources.map { try SourceFiles($0, in: opened) }
    coding = TextCoding(tokenizer, between: settings.between, end: settings.end)
    order = DocumentOrder(
      counts: self.sources.map(\.count), weights: self.sources.map { $0.source.weight ?? Double($0.count) },
      seed: settings.seed, isShuffled: settings.isShuffled)
    drawn = sources.map { _ in 0 }
    barren = drawn
  }

  /// How many documents there are.
  public var documentCount: Int { sources.reduce(0) { $0 + $1.count } }
  /// How many were begun with, or skipped.
  public var documentsDrawn: Int { drawn.reduce(0, +) - (isCurrentBegun ? 0 : 1) }

  /// A document is drawn before it is known to fit.
  private var isCurrentBegun: Bool { current.map { $0.part > 0 || $0.sequences.isEmpty } ?? true }
  /// How often as many documents were drawn as there are.
  public var epoch: Double { Double(documentsDrawn) / Double(documentCount) }

  /// What kinds of text the sources are, in their order, each once; a line may name others.
  public var domains: [String] {
    sources.reduce(into: []) { names, source in
      if !names.contains(where: { $0.hasSameBytes(as: source.source.domain) }) {
        names.append(source.source.domain)
      }
    }
  }

  /// The sequences that come next; after an error the stream is where it was.
  ///
  /// - Parameters:
  ///   - budget: How many tokens they may have together; a single sequence may have more, if it is the first
  ///     one.
  /// - Throws: `FileError`; `RuntimeError` with `invalid-data` for what is no document, for a document that
  ///   is too long, and for a source without anything to learn.
  public func next(tokens budget: Int) throws -> [TrainingSequence] {
    let before = place
    do {
      return try sequences(budget)
    } catch {
      place = before
      throw error
    }
  }

  /// Where the stream stands, to go back to while nothing else has changed.
  struct Place {
    fileprivate let drawn: [Int]
    fileprivate let current: Current?
    fileprivate let barren: [Int]
    fileprivate let skipped: Int
  }

  var place: Place {
    get { Place(drawn: drawn, current: current, barren: barren, skipped: documentsSkipped) }
    set {
      (drawn, current) = (newValue.drawn, newValue.current)
      (barren, documentsSkipped) = (newValue.barren, newValue.skipped)
    }
  }

  private func sequences(_ budget: Int) throws -> [TrainingSequence] {
    var result: [TrainingSequence] = []
    var count = 0
    repeat {
      let document = try currentDocument()
      let sequence = document.sequences[document.part]
      count += sequence.tokens.count
      if !result.isEmpty, count > budget { break }
      result.append(sequence)
      current?.part += 1
    } while count < budget
    return result
  }

  /// The document that has the next sequence.
  private func currentDocument() throws -> Current {
    while true {
      if let current, current.part < current.sequences.count { return current }
      let source = order.next(after: drawn)
      let sequences = try self.sequences(source: source, draw: drawn[source])
      drawn[source] += 1
      current = Current(source: source, sequences: sequences, part: 0)
      barren[source] = sequences.isEmpty ? barren[source] + 1 : 0
      if sequences.isEmpty { documentsSkipped += 1 }
      // Two epochs, of which one has its targets at the beginning and the other at the end, have no more
      // between.
      if barren[source] >= 2 * sources[source].count - 1 {
        throw RuntimeError(
          .invalidData, path: sources[source].source.path,
          found:
            "none of its \(sources[source].count) texts has anything to learn within "
            + "\(settings.context) tokens"
        )
      }
    }
  }

  /// What a draw gives.
  func sequences(source: Int, draw: Int) throws -> [TrainingSequence] {
    let files = sources[source]
    let index = order.document(source: source, draw: draw)
    let (document, place) = try files.document(index, in: opened, chat: chat)
    let sample = coding.sample(document)
    let context = max(1, settings.context)
    var parts = sample.parts(context: context)
    if sample.tokens.count > context {
      switch settings.long {
      case .split: break
      case .truncate:
        let beginning = Evaluation.Sample(
          tokens: Array(sample.tokens[..<context]), isTarget: Array(sample.isTarget[..<context]), bytes: 0)
        parts = beginning.parts(context: context)
      case .refuse:
        throw try files.invalid(
          "it has \(sample.tokens.count) tokens and the context \(context); split or truncate long texts, or "
            + "give a larger context", at: place, in: opened)
      }
    }
    let domain = document.domain ?? files.source.domain
    return parts.map { TrainingSequence(tokens: $0.tokens, isTarget: $0.isTarget, domain: domain) }
  }
}
