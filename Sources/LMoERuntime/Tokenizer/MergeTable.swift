/// Which pairs of tokens join, in which order, and to what.
struct MergeTable: Sendable {
  /// A pair's rank and what it makes.
  struct Merge {
    /// Lower ranks join first.
    let rank: UInt32
    let result: UInt32
  }

  private var pairs: [UInt64]
  private var merges: [UInt64]
  private let mask: Int
  private static let empty = UInt64.max

  /// Makes a table with room for `count` merges.
  init(capacity count: Int) {
    var size = 16
    while size < count * 2 { size *= 2 }
    mask = size - 1
    pairs = [UInt64](repeating: Self.empty, count: size)
    merges = [UInt64](repeating: 0, count: size)
  }

  /// Adds a merge; false if the pair is there.
  mutating func insert(_ left: UInt32, _ right: UInt32, _ merge: Merge) -> Bool {
    let pair = UInt64(left) << 32 | UInt64(right)
    var slot = Int(truncatingIfNeeded: ByteHash.hash(pair)) & mask
    while pairs[slot] != Self.empty {
      if pairs[slot] == pair { return false }
      slot = (slot + 1) & mask
    }
    pairs[slot] = pair
    merges[slot] = UInt64(merge.rank) << 32 | UInt64(merge.result)
    return true
  }

  /// What two tokens make, if anything.
  @inline(__always) subscript(left: UInt32, right: UInt32) -> Merge? {
    let pair = UInt64(left) << 32 | UInt64(right)
    var slot = Int(truncatingIfNeeded: ByteHash.hash(pair)) & mask
    while pairs[slot] != Self.empty {
      if pairs[slot] == pair {
        return Merge(
          rank: UInt32(truncatingIfNeeded: merges[slot] >> 32),
          result: UInt32(truncatingIfNeeded: merges[slot]))
      }
      slot = (slot + 1) & mask
    }
    return nil
  }
}
