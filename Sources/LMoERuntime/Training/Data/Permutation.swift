import LMoECore

/// An order of the numbers below a count that is computed and not stored.
///
/// It is a Feistel network over the next power of four; what leaves the range walks on until it is back.
struct Permutation: Sendable {
  private let count: UInt64
  private let halfBits: UInt64
  private let keys: [UInt64]

  private static let rounds = 8

  /// The order that `seed` gives `count` numbers.
  init(count: Int, seed: UInt64) {
    self.count = UInt64(max(0, count))
    var halfBits: UInt64 = 1
    while halfBits < 31, 1 << (2 * halfBits) < self.count { halfBits += 1 }
    self.halfBits = halfBits
    var source = SplitMix(seed: seed)
    keys = (0..<Self.rounds).map { _ in source.next() }
  }

  /// The number at a place, which is below the count.
  subscript(place: Int) -> Int {
    var value = UInt64(place)
    repeat { value = mixed(value) } while value >= count
    return Int(value)
  }

  private func mixed(_ value: UInt64) -> UInt64 {
    let mask: UInt64 = (1 << halfBits) - 1
    var (left, right) = (value >> halfBits, value & mask)
    for key in keys {
      // The upper bits of the generator are its best.
      var round = SplitMix(seed: key ^ right)
      (left, right) = (right, left ^ round.next() >> (64 - halfBits))
    }
    return left << halfBits | right
  }
}
