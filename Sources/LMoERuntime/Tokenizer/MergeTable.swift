/// Which pairs of tokens join, in which order, and to what.
struct MergeTable: Sendable {
  /// A pair's rank and what it makes.
  struct Merge {
    /// Lower ranks join first.
    let rank: UInt32
    let result: UInt32
  }

  /// Pair, then rank << 32 | result: side by side, since each costs a fetch from memory.
  private var slots: [UInt64]
  private let mask: Int
  private static let empty = UInt64.max

  /// Makes a table with room for `count` merges.
  init(capacity count: Int) {
    var size = 16
    while size < count * 2 { size *= 2 }
    mask = size - 1
    slots = [UInt64](repeating: Self.empty, count: size * 2)
  }

  /// Adds a merge; false if the pair is there.
  mutating func insert(_ left: UInt32, _ right: UInt32, _ merge: Merge) -> Bool {
    let pair = UInt64(left) << 32 | UInt64(right)
    let slot = slot(of: pair)
    guard slots[slot] == Self.empty else { return false }
    slots[slot] = pair
    slots[slot + 1] = UInt64(merge.rank) << 32 | UInt64(merge.result)
    return true
  }

  /// What two tokens make, if anything.
  subscript(left: UInt32, right: UInt32) -> Merge? {
    let pair = UInt64(left) << 32 | UInt64(right)
    let slot = slot(of: pair)
    guard slots[slot] == pair else { return nil }
    let merge = slots[slot + 1]
    return Merge(rank: UInt32(truncatingIfNeeded: merge >> 32), result: UInt32(truncatingIfNeeded: merge))
  }

  /// Where a pair is, or would be.
  @inline(__always) private func slot(of pair: UInt64) -> Int {
    var index = Int(truncatingIfNeeded: ByteHash.hash(pair)) & mask
    while slots[index * 2] != Self.empty, slots[index * 2] != pair { index = (index + 1) & mask }
    return index * 2
  }
}
