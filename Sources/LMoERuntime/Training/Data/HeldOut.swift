public import LMoECore

/// Texts to evaluate a model with, as tokens, by kind.
public struct HeldOut: Sendable {
  /// Texts of one kind.
  public struct Group: Sendable {
    /// What kind of text it is.
    public let domain: String
    /// The texts.
    public internal(set) var samples: [Evaluation.Sample]
  }

  /// The kinds, in the order in which they came first.
  public private(set) var groups: [Group] = []
  private let coding: TextCoding
  private let chat: ChatForm
  private let limit: Int

  /// Begins without texts.
  ///
  /// - Parameters:
  ///   - coding: How texts become tokens.
  ///   - chat: How messages become text.
  ///   - limit: The most texts of a kind; those beyond are left out.
  public init(_ coding: TextCoding, chat: ChatForm = .none, limit: Int = .max) {
    (self.coding, self.chat, self.limit) = (coding, chat, limit)
  }

  /// Adds texts of a kind, unless they say that they are of another.
  public mutating func add(_ data: TextData) {
    for document in data.documents {
      let domain = document.domain ?? data.domain
      let place = groups.firstIndex { $0.domain.hasSameBytes(as: domain) }
      if place == nil { groups.append(Group(domain: domain, samples: [])) }
      let group = place ?? groups.count - 1
      if groups[group].samples.count < limit { groups[group].samples.append(coding.sample(document)) }
    }
    // A kind of which there is nothing is known all the same.
    if data.documents.isEmpty, !groups.contains(where: { $0.domain.hasSameBytes(as: data.domain) }) {
      groups.append(Group(domain: data.domain, samples: []))
    }
  }

  /// Adds the texts in a file, as `TextData` reads them.
  ///
  /// - Throws: `RuntimeError` with `invalid-data` that names the line.
  public mutating func add(_ bytes: [UInt8], of path: String, domain: String) throws {
    add(try TextData(domain: domain, path: path, bytes: bytes, chat: chat))
  }

  /// Adds the texts of a source; its weight is of no account.
  ///
  /// - Throws: `FileError`; `RuntimeError` with `invalid-data` that names the line.
  public mutating func add(
    _ source: TrainingSource, files: any FileSystem = PosixFileSystem()
  ) throws {
    for path in try SourceFiles.paths(at: source.path, files) {
      let file = try files.open(path, .read)
      guard let count = Int(exactly: try file.size()) else { continue }
      try add(try file.bytes(at: 0, count: count), of: path, domain: source.domain)
    }
  }
}
