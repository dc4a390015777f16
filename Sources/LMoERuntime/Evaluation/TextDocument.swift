import LMoECore

/// A document to be scored or learned.
public struct TextDocument: Hashable, Sendable {
  /// A piece of a document.
  public struct Part: Hashable, Sendable {
    /// Its text.
    public let text: [UInt8]
    /// Whether it is scored or learned, and not only read.
    public let isTarget: Bool

    /// Makes a piece.
    public init(_ text: [UInt8], isTarget: Bool) { (self.text, self.isTarget) = (text, isTarget) }
  }

  /// The pieces in order, none of them empty.
  public let parts: [Part]
  /// What kind of text it says that it is.
  public let domain: String?
  /// Whether it has its special tokens written out, as a chat template does.
  public let isTemplated: Bool
  /// Whether what comes before its text is of a target, and what comes after it.
  let startsAsTarget: Bool
  let endsAsTarget: Bool
  /// Whether it begins where its text begins, and not in the middle.
  let isBeginning: Bool
  /// Whether it ends where its text ends.
  let isEnd: Bool

  init(
    parts: [Part], domain: String? = nil, isTemplated: Bool = false, isBeginning: Bool = true,
    isEnd: Bool = true
  ) {
    self.parts = parts.filter { !$0.text.isEmpty }
    // An empty completion has its end to be learned all the same.
    startsAsTarget = self.parts.first?.isTarget ?? false
    endsAsTarget = parts.last?.isTarget ?? false
    self.domain = domain
    self.isTemplated = isTemplated
    self.isBeginning = isBeginning
    self.isEnd = isEnd
  }

  /// Makes a document of what is only read and what is scored.
  public init(prompt: [UInt8] = [], text: [UInt8]) {
    self.init(parts: [Part(prompt, isTarget: false), Part(text, isTarget: true)])
  }

  /// All of its text.
  public var text: [UInt8] { parts.flatMap(\.text) }
  /// Bytes of what is scored or learned.
  public var targetBytes: Int { parts.reduce(0) { $0 + ($1.isTarget ? $1.text.count : 0) } }
}
