import LMoECore

/// What there is to do to load one entry, chunk by chunk, in any order.
///
/// No worker waits for another: whoever has decoded the chunk that the content hash comes to next feeds it,
/// with those behind it that are there already.
final class LoadWork: Sendable {
  let item: BankedEntry
  let place: LoadPlace
  /// Whether its bytes need no check any more.
  let isChecked: Bool
  private let content: Guarded<Content>?

  /// How far the content hash has come.
  private struct Content {
    var isDecoded: [Bool]
    var hashed = 0
    var isBusy = false
    let hash = StreamingHash()

    /// The chunks that can be hashed now, if nobody is at it.
    mutating func take() -> Range<Int>? {
      guard !isBusy, hashed < isDecoded.count, isDecoded[hashed] else { return nil }
      let end = isDecoded[hashed...].firstIndex(of: false) ?? isDecoded.count
      isBusy = true
      return hashed..<end
    }
  }

  init(_ item: BankedEntry, _ place: LoadPlace, isChecked: Bool) {
    (self.item, self.place, self.isChecked) = (item, place, isChecked)
    let count = item.entry.chunks.count
    content =
      place.isMapped || count < 2 ? nil : Guarded(Content(isDecoded: Array(repeating: false, count: count)))
  }

  /// Checks the chunk, and decodes it where it is not used from the map.
  func run(_ number: Int, with reader: ChunkReader, _ window: CheckWindow) throws(FormatError) {
    let chunk = item.entry.chunks[number]
    if let region = place.region { return try reader.check(chunk, in: region, with: window) }
    let coder = try reader.coders.borrow(chunkBytes: item.entry.chunkRawBytes)
    defer { reader.coders.giveBack(coder) }
    unsafe try reader.decode(chunk, of: item.entry.type, into: place.target(range(number)), with: coder)
    if reader.checks { try hash(number) }
  }

  /// Where a chunk's raw bytes are in the entry.
  private func range(_ number: Int) -> Range<Int> {
    let start = number * item.entry.chunkRawBytes
    return start..<start + item.entry.chunks[number].rawLength
  }

  private func hash(_ number: Int) throws(FormatError) {
    guard let content else { return try require(unsafe Checksum.hash128(place.bytes)) }
    var next = content.withValue { content in
      content.isDecoded[number] = true
      return content.take()
    }
    while let chunks = next {
      let bytes = range(chunks.lowerBound).lowerBound..<range(chunks.upperBound - 1).upperBound
      // Nobody else is at the hash while `isBusy`.
      let hash = content.withValue { $0.hash }
      unsafe hash.update(UnsafeRawBufferPointer(rebasing: place.bytes[bytes]))
      if chunks.upperBound == item.entry.chunks.count { return try require(hash.digest) }
      next = content.withValue { content in
        (content.hashed, content.isBusy) = (chunks.upperBound, false)
        return content.take()
      }
    }
  }

  private func require(_ hash: Bits128) throws(FormatError) {
    if hash != item.entry.contentHash {
      throw FormatError(.contentMismatch, offset: item.entry.chunks[0].offset)
    }
  }
}
