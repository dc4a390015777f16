private import Synchronization

/// Hands out the numbers 0 ..< count, each once, to whichever worker asks.
public final class WorkQueue: Sendable {
  private let count: Int
  private let taken = Atomic<Int>(0)

  /// Makes a queue of `count` numbers.
  public init(count: Int) { self.count = count }

  /// The next number; nil when all are taken.
  public func next() -> Int? {
    let (number, _) = taken.add(1, ordering: .relaxed)
    return number < count ? number : nil
  }
}
