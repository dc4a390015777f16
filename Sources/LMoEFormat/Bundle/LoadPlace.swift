import LMoECore

/// Where the raw bytes of an entry are, or go.
@safe struct LoadPlace: @unchecked Sendable {
  @unsafe let bytes: UnsafeRawBufferPointer
  let owner: AnyObject
  /// The map, if it is a part of it.
  let region: MappedRegion?

  var isMapped: Bool { region != nil }

  /// A part of the map.
  init(_ region: MappedRegion, _ range: Range<Int>) {
    unsafe bytes = UnsafeRawBufferPointer(rebasing: region.bytes[range])
    (owner, self.region) = (region, region)
  }

  private init(_ buffer: RawBuffer, _ range: Range<Int>) {
    unsafe bytes = UnsafeRawBufferPointer(rebasing: buffer.bytes[range])
    (owner, region) = (buffer, nil)
  }

  /// A part of memory that was made for it.
  @unsafe func target(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(mutating: UnsafeRawBufferPointer(rebasing: bytes[range]))
  }

  /// What shares a block of memory: enough for large pages, little enough to be had anywhere.
  private static let blockBytes = 64 << 20

  /// Memory for so many bytes each.
  static func inMemory(_ counts: [Int]) -> [LoadPlace] {
    var places: [LoadPlace] = []
    var next = 0
    while next < counts.count {
      var ranges: [Range<Int>] = []
      var end = 0
      repeat {
        let count = counts[next]
        ranges.append(end..<end + count)
        end += (count + 63) / 64 * 64
        next += 1
      } while next < counts.count && end + counts[next] <= blockBytes
      let buffer = RawBuffer(count: end)
      places += ranges.map { LoadPlace(buffer, $0) }
    }
    return places
  }
}
