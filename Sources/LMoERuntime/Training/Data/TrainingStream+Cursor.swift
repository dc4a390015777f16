public import LMoECore

extension TrainingStream {
  /// A file as it was when it was indexed.
  public struct FileState: Hashable, Sendable {
    /// The file.
    public let path: String
    /// Its size in bytes.
    public let size: UInt64
    /// When it was last written to, in nanoseconds since the beginning of 1970.
    public let modified: Int64
  }

  /// How far a stream has come.
  public struct Cursor: Hashable, Sendable {
    let drawn: [Int]
    /// The source of the document that is not yet given out whole, and its next part.
    let source: Int?
    let part: Int
    let skipped: Int
    let files: [FileState]
  }

  /// How far the stream has come; a stream of the same sources and settings goes on from there.
  public var cursor: Cursor {
    let unfinished = current.flatMap { $0.part < $0.sequences.count ? $0 : nil }
    return Cursor(
      drawn: drawn, source: unfinished?.source, part: unfinished?.part ?? 0, skipped: documentsSkipped,
      files: sources.flatMap { $0.files.map(\.state) })
  }

  /// Goes on from where a stream of the same sources and settings had come.
  ///
  /// - Throws: `RuntimeError` with `invalid-data` where the files are others, or have changed; `FileError`.
  public func restore(_ cursor: Cursor) throws {
    let files = sources.flatMap(\.files)
    guard cursor.drawn.count == sources.count, cursor.files.count == files.count else {
      throw RuntimeError(
        .invalidData, path: sources[0].source.path,
        found:
          "the interrupted run read \(cursor.files.count) files of \(cursor.drawn.count) sources, and now "
          + "there are \(files.count) of \(sources.count); give the same data in the same order, or begin anew"
      )
    }
    for (file, before) in zip(files, cursor.files)
    where file.state.size != before.size || file.state.modified != before.modified {
      throw RuntimeError(
        .invalidData, path: file.path,
        found:
          "it has changed since the interrupted run read it (as \(before.path), with \(before.size) bytes); "
          + "bring it back as it was, or begin anew")
    }
    var current: Current?
    if let source = cursor.source {
      let sequences = try sequences(source: source, draw: cursor.drawn[source] - 1)
      current = Current(source: source, sequences: sequences, part: cursor.part)
    }
    self.current = current
    drawn = cursor.drawn
    documentsSkipped = cursor.skipped
  }
}

extension TrainingStream.Cursor {
  /// The cursor as JSON.
  public var json: JSON {
    var members: [(String, JSON)] = [("drawn", .array(drawn.map { .integer($0) }))]
    if let source { members.append(("unfinished", ["source": .integer(source), "part": .integer(part)])) }
    members.append(("skipped", .integer(skipped)))
    let files = files.map { file -> JSON in
      ["path": .string(file.path), "size": .integer(file.size), "modified": .integer(file.modified)]
    }
    return .object(members + [("files", .array(files))])
  }

  /// Reads what `json` gives; nil for what is none.
  public init?(_ json: JSON) {
    guard let drawn = json["drawn"]?.array, let skipped = json["skipped"]?.int, skipped >= 0,
      let files = json["files"]?.array
    else { return nil }
    self.drawn = drawn.compactMap(\.int).filter { $0 >= 0 }
    self.skipped = skipped
    self.files = files.compactMap { file in
      guard let path = file["path"]?.string, let size = file["size"]?.number?.integer(UInt64.self),
        let modified = file["modified"]?.number?.integer(Int64.self)
      else { return nil }
      return TrainingStream.FileState(path: path, size: size, modified: modified)
    }
    guard self.drawn.count == drawn.count, self.files.count == files.count else { return nil }
    guard let unfinished = json["unfinished"] else {
      (source, part) = (nil, 0)
      return
    }
    guard let source = unfinished["source"]?.int, let part = unfinished["part"]?.int, part >= 0,
      self.drawn.indices.contains(source), self.drawn[source] > 0
    else { return nil }
    (self.source, self.part) = (source, part)
  }
}
