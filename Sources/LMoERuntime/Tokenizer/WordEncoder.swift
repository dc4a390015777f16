/// Turns the words of one text into tokens, remembering short words: most words of a text come again.
struct WordEncoder {
  private let model: BytePairModel
  private var merging: PairMerging
  /// The tokens found so far.
  private(set) var tokens: [UInt32] = []

  private struct Entry {
    var low: UInt64 = 0
    var high: UInt64 = 0
    /// Where its tokens are in `known`, and how many.
    var start: Int32 = 0
    var count: Int32 = 0
  }

  private var entries: [Entry] = []
  private var known: [UInt32] = []
  private static let size = 1 << 13
  /// What fits beside its length into an entry.
  private static let longest = 15

  /// Makes an encoder for a text of `bytes` bytes.
  init(_ model: BytePairModel, bytes: Int) {
    self.model = model
    merging = PairMerging(model.merges)
    tokens.reserveCapacity(bytes / 3 + 16)
    if bytes > 512 { entries = [Entry](repeating: Entry(), count: Self.size) }
  }

  /// Appends a token that is no word's.
  mutating func append(_ token: Int) { tokens.append(UInt32(token)) }

  /// Appends the tokens of a word, cut where the model lets.
  mutating func encode(_ text: [UInt8], _ word: Range<Int>) {
    guard let mark = model.cutCharacter else { return encodeWhole(text, word) }
    var start = word.lowerBound
    var index = start
    while let found = text.firstIndex(of: mark, in: index..<word.upperBound) {
      // A run of marks belongs together.
      if found > index, found > start {
        encodeWhole(text, start..<found)
        start = found
      }
      index = found + mark.count
    }
    encodeWhole(text, start..<word.upperBound)
  }

  private mutating func encodeWhole(_ text: [UInt8], _ word: Range<Int>) {
    guard !word.isEmpty else { return }
    guard !entries.isEmpty, word.count <= Self.longest else { return encodeAnew(text, word) }
    let (low, high) = Self.packed(text, word)
    let slot = Int(truncatingIfNeeded: ByteHash.hash(low ^ (high &* 0x9FB2_1C65_1E98_DF25))) & (Self.size - 1)
    let entry = entries[slot]
    if entry.low == low, entry.high == high {
      tokens += known[Int(entry.start)..<Int(entry.start + entry.count)]
      return
    }
    let start = tokens.count
    encodeAnew(text, word)
    // Another word may take the place; its tokens stay, so there is a limit.
    guard known.count < 1 << 20 else { return }
    entries[slot] = Entry(
      low: low, high: high, start: Int32(known.count), count: Int32(tokens.count - start))
    known += tokens[start...]
  }

  /// The bytes of a short word and its length, as two numbers.
  private static func packed(_ text: [UInt8], _ word: Range<Int>) -> (UInt64, UInt64) {
    var low: UInt64 = 0
    var high = UInt64(word.count)
    for (offset, index) in word.enumerated() {
      if offset < 8 { low = low << 8 | UInt64(text[index]) } else { high = high << 8 | UInt64(text[index]) }
    }
    return (low, high)
  }

  private mutating func encodeAnew(_ text: [UInt8], _ word: Range<Int>) {
    if model.ignoresMerges, let token = model.token(of: text, word) {
      tokens.append(token)
      return
    }
    let start = tokens.count
    model.appendCharacters(of: text, word, to: &tokens)
    merging.merge(&tokens, from: start)
  }
}
