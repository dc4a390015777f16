/// Where texts to learn from are.
public struct TrainingSource: Hashable, Sendable {
  /// A file, or a directory all of whose files are read: JSON lines (`.jsonl`, `.ndjson`), and else plain
  /// text.
  public let path: String
  /// What kind of text it is, where a line does not say.
  public let domain: String
  /// How often its documents come, beside those of others; nil: as often as there are documents.
  public let weight: Double?

  /// Names a source.
  public init(path: String, domain: String, weight: Double? = nil) {
    self.path = path
    self.domain = domain
    self.weight = weight
  }
}

/// What becomes of documents that are longer than the context.
public enum LongDocuments: String, Hashable, Sendable, CaseIterable {
  /// They are learned in parts, each from its own beginning.
  case split
  /// Only their beginning is learned.
  case truncate
  /// They are an error.
  case refuse
}
