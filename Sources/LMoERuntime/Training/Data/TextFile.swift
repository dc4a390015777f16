import LMoECore

/// A file of documents, of which only an index is in memory: 16 bytes for every 32 kB or so.
struct TextFile: Sendable {
  /// How documents stand in a file.
  enum Form: Hashable, Sendable {
    /// One JSON object a line.
    case lines
    /// One text, cut at line ends into pieces.
    case plain

    /// The form of files with this name.
    init(_ path: String) {
      let ending = path.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).last
      self = ["jsonl", "ndjson"].contains { ending?.elementsEqual($0.utf8) == true } ? .lines : .plain
    }
  }

  /// Some lines of JSON, or a piece of text.
  struct Block: Hashable, Sendable {
    let offset: UInt64
    /// How many documents there are before it.
    let first: Int
  }

  let path: String
  let form: Form
  /// The file as it was when it was indexed.
  let state: TrainingStream.FileState
  let blocks: [Block]
  /// How many documents there are.
  let count: Int

  /// Blocks are cut at the first line end after so many bytes.
  static let blockBytes = 32 << 10
  /// A text without line ends is cut after so many bytes.
  static let largestPiece = 64 << 10
  /// The longest line of JSON.
  static let largestLine = 64 << 20

  /// Whether a byte of a line of JSON says nothing.
  static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A }

  /// Reads a file once, to find its documents.
  ///
  /// - Throws: `FileError`; `RuntimeError` with `invalid-data` for a line that is too long, and where the
  ///   file changes meanwhile.
  init(_ path: String, in files: OpenFiles) throws {
    self.path = path
    form = Form(path)
    state = try files.state(of: path)
    var indexer = TextIndexer(form, path: path)
    var offset: UInt64 = 0
    while offset < state.size {
      let count = Int(min(TextIndexer.window, state.size - offset))
      try indexer.add(try files.read(path, at: offset, count: count, expecting: state))
      offset += UInt64(count)
    }
    (blocks, count) = indexer.finished()
  }

  /// The bytes of a document and where they begin.
  ///
  /// - Throws: `FileError`; `RuntimeError` with `invalid-data` where the file has changed.
  func record(_ index: Int, in files: OpenFiles) throws -> (offset: UInt64, bytes: ArraySlice<UInt8>) {
    // The last block that begins with this document or one before it.
    var (low, high) = (0, blocks.count - 1)
    while low < high {
      let middle = (low + high + 1) / 2
      if blocks[middle].first <= index { low = middle } else { high = middle - 1 }
    }
    let start = blocks[low].offset
    let end = low + 1 < blocks.count ? blocks[low + 1].offset : state.size
    let bytes = try files.read(path, at: start, count: Int(end - start), expecting: state)
    guard form == .lines else { return (start, bytes[...]) }
    var place = blocks[low].first
    var lineStart = 0
    while lineStart < bytes.count {
      let lineEnd = bytes[lineStart...].firstIndex(of: 0x0A) ?? bytes.count
      let line = bytes[lineStart..<lineEnd]
      if !line.allSatisfy(Self.isBlank) {
        if place == index { return (start + UInt64(lineStart), line) }
        place += 1
      }
      lineStart = lineEnd + 1
    }
    throw files.changed(path)
  }

  /// The number of the line in which a byte is; the file is read for it from its beginning.
  func line(at offset: UInt64, in files: OpenFiles) throws -> Int {
    var number = 1
    var position: UInt64 = 0
    while position < offset {
      let count = Int(min(TextIndexer.window, offset - position))
      let bytes = try files.read(path, at: position, count: count, expecting: state)
      number += bytes.reduce(0) { $1 == 0x0A ? $0 + 1 : $0 }
      position += UInt64(count)
    }
    return number
  }
}
