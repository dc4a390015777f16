/// Joins pairs in a word: always the pair of the lowest rank, and of equals the leftmost.
struct PairMerging {
  private let merges: MergeTable
  /// Ranks of the pairs in a short word.
  private var ranks: [UInt32] = []
  /// Where the neighbours of each symbol of a long word are.
  private var next: [Int32] = []
  private var previous: [Int32] = []
  private var heap = PairHeap()

  private static let none = UInt32.max
  /// Up to this length it is faster to look at all pairs each time.
  private static let short = 32

  init(_ merges: MergeTable) { self.merges = merges }

  /// Joins what can be joined in `symbols` from `start` on.
  mutating func merge(_ symbols: inout [UInt32], from start: Int) {
    let count = symbols.count - start
    if count < 2 { return }
    if count <= Self.short || count > Int(Int32.max) {
      mergeShort(&symbols, start)
    } else {
      mergeLong(&symbols, start)
    }
  }

  private mutating func mergeShort(_ symbols: inout [UInt32], _ start: Int) {
    ranks.removeAll(keepingCapacity: true)
    for index in start..<symbols.count - 1 {
      ranks.append(merges[symbols[index], symbols[index + 1]]?.rank ?? Self.none)
    }
    while true {
      var best = Self.none
      var place = 0
      for (index, rank) in ranks.enumerated() where rank < best {
        best = rank
        place = index
      }
      let index = start + place
      guard best != Self.none, let merge = merges[symbols[index], symbols[index + 1]] else { return }
      symbols[index] = merge.result
      symbols.remove(at: index + 1)
      ranks.remove(at: place)
      if place > 0 { ranks[place - 1] = merges[symbols[index - 1], merge.result]?.rank ?? Self.none }
      if place < ranks.count { ranks[place] = merges[merge.result, symbols[index + 1]]?.rank ?? Self.none }
    }
  }

  private mutating func mergeLong(_ symbols: inout [UInt32], _ start: Int) {
    let count = symbols.count - start
    next = (0..<count).map { Int32($0 + 1) }
    previous = (0..<count).map { Int32($0 - 1) }
    heap.removeAll()
    for index in 0..<count - 1 {
      if let merge = merges[symbols[start + index], symbols[start + index + 1]] {
        heap.append(merge.rank, index)
      }
    }
    heap.order()
    while let (rank, index) = heap.pop() {
      let right = Int(next[index])
      // Entries of pairs that have changed since are still in the heap.
      guard symbols[start + index] != Self.none, right < count,
        let merge = merges[symbols[start + index], symbols[start + right]], merge.rank == rank
      else { continue }
      symbols[start + index] = merge.result
      symbols[start + right] = Self.none
      let after = Int(next[right])
      next[index] = Int32(after)
      if after < count {
        previous[after] = Int32(index)
        if let pair = merges[merge.result, symbols[start + after]] { heap.push(pair.rank, index) }
      }
      let before = Int(previous[index])
      if before >= 0, let pair = merges[symbols[start + before], merge.result] {
        heap.push(pair.rank, before)
      }
    }
    var end = start
    for index in start..<symbols.count where symbols[index] != Self.none {
      symbols[end] = symbols[index]
      end += 1
    }
    symbols.removeLast(symbols.count - end)
  }
}

/// Pairs by rank, then by place, the lowest first.
struct PairHeap {
  private var entries: [UInt64] = []

  mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

  /// Adds a pair without regard to order.
  mutating func append(_ rank: UInt32, _ place: Int) { entries.append(Self.entry(rank, place)) }

  /// Puts all pairs in order.
  mutating func order() {
    for index in stride(from: entries.count / 2 - 1, through: 0, by: -1) { sink(index, entries[index]) }
  }

  mutating func push(_ rank: UInt32, _ place: Int) {
    let entry = Self.entry(rank, place)
    var index = entries.count
    entries.append(entry)
    while index > 0 {
      let parent = (index - 1) / 2
      if entries[parent] <= entry { break }
      entries[index] = entries[parent]
      index = parent
    }
    entries[index] = entry
  }

  mutating func pop() -> (rank: UInt32, place: Int)? {
    guard let first = entries.first, let last = entries.popLast() else { return nil }
    if !entries.isEmpty { sink(0, last) }
    return (UInt32(truncatingIfNeeded: first >> 32), Int(first & 0xFFFF_FFFF))
  }

  private mutating func sink(_ start: Int, _ entry: UInt64) {
    var index = start
    while true {
      var child = index * 2 + 1
      guard child < entries.count else { break }
      if child + 1 < entries.count, entries[child + 1] < entries[child] { child += 1 }
      if entry <= entries[child] { break }
      entries[index] = entries[child]
      index = child
    }
    entries[index] = entry
  }

  private static func entry(_ rank: UInt32, _ place: Int) -> UInt64 { UInt64(rank) << 32 | UInt64(place) }
}
