import LMoECore

/// Finds the documents of a file in one pass over its bytes, a window at a time.
struct TextIndexer {
  private let form: TextFile.Form
  private let path: String
  private var blocks = [TextFile.Block(offset: 0, first: 0)]
  private var count = 0
  /// Bytes seen.
  private var position: UInt64 = 0
  private var lines = 1
  private var lineStart: UInt64 = 0
  /// Whether the line says something.
  private var hasContent = false
  /// Where a text without line ends can be cut: after a space, or before a character.
  private var cut: UInt64 = 0

  /// Bytes that are read at once.
  static let window: UInt64 = 1 << 20

  init(_ form: TextFile.Form, path: String) { (self.form, self.path) = (form, path) }

  private var blockStart: UInt64 { blocks[blocks.count - 1].offset }

  /// Goes on with the bytes that come next.
  ///
  /// - Throws: `RuntimeError` with `invalid-data` for a line of JSON that is too long.
  mutating func add(_ bytes: [UInt8]) throws(RuntimeError) {
    let start = position
    var index = 0
    while index < bytes.count {
      // A document's first byte says that there is one; the rest of a line is only looked through for its
      // end.
      if form == .lines, !hasContent {
        while index < bytes.count, bytes[index] != 0x0A, TextFile.isBlank(bytes[index]) { index += 1 }
        hasContent = index < bytes.count && bytes[index] != 0x0A
      }
      let end = form == .lines ? nextLineEnd(bytes, index) : nextCut(bytes, index, start)
      position = start + UInt64(min(end + 1, bytes.count))
      if form == .lines, position - lineStart > UInt64(TextFile.largestLine) {
        throw RuntimeError(
          .invalidData, path: path, name: "\(lines)",
          found: "it has more than \(TextFile.largestLine >> 20) MiB; break it into several")
      }
      if end < bytes.count { endLine() }
      index = end + 1
    }
    position = start + UInt64(bytes.count)
  }

  private func nextLineEnd(_ bytes: [UInt8], _ index: Int) -> Int {
    var index = index
    while index < bytes.count, bytes[index] != 0x0A { index += 1 }
    return index
  }

  /// The next line end; on the way a piece that becomes too long is cut.
  private mutating func nextCut(_ bytes: [UInt8], _ index: Int, _ start: UInt64) -> Int {
    var index = index
    while index < bytes.count, bytes[index] != 0x0A {
      let here = start + UInt64(index)
      let byte = bytes[index]
      let length = here - blockStart
      // No character has more than three bytes after its first.
      if length >= UInt64(TextFile.largestPiece),
        byte & 0xC0 != 0x80 || length >= UInt64(TextFile.largestPiece) + 4
      {
        // Rather in a word than after half a piece or less.
        begin(at: cut > blockStart + UInt64(TextFile.blockBytes) ? cut : here)
      }
      if byte == 0x20 || byte == 0x09 { cut = here + 1 }
      index += 1
    }
    return index
  }

  private mutating func endLine() {
    lines += 1
    if form == .lines {
      if hasContent { count += 1 }
      hasContent = false
      lineStart = position
    }
    if position - blockStart >= UInt64(TextFile.blockBytes) { begin(at: position) }
  }

  private mutating func begin(at offset: UInt64) {
    if form == .plain { count += 1 }
    blocks.append(TextFile.Block(offset: offset, first: count))
  }

  /// The index of all that was seen.
  consuming func finished() -> (blocks: [TextFile.Block], count: Int) {
    if blockStart >= position { blocks.removeLast() }
    if form == .lines { return (blocks, count + (hasContent ? 1 : 0)) }
    return (blocks, blocks.count)
  }
}
