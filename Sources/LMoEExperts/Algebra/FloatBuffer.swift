import LMoECore

/// Memory for floats, not initialised.
///
/// Large pieces go to the next who needs one: a merge asks for the same sizes hundreds of times, and the kernel takes
/// longer to hand out fresh pages than the arithmetic on them takes.
@safe final class FloatBuffer: @unchecked Sendable {
  @unsafe let floats: UnsafeMutablePointer<Float>
  private let capacity: Int

  private static let smallest = 1 << 18
  private static let mostKept = 24 << 20
  private static let kept = Guarded<(buffers: [Kept], count: Int)>(([], 0))

  @safe private struct Kept: @unchecked Sendable {
    @unsafe let floats: UnsafeMutablePointer<Float>
    let capacity: Int
  }

  /// Room for `count` floats.
  init(_ count: Int) {
    if count >= Self.smallest, let old = Self.take(count) {
      (capacity, unsafe floats) = unsafe (old.capacity, old.floats)
      return
    }
    capacity = max(count, 1)
    unsafe floats = UnsafeMutablePointer<Float>.allocate(capacity: capacity)
  }

  /// A kept piece that is not much larger.
  private static func take(_ count: Int) -> Kept? {
    kept.withValue { kept in
      guard let place = kept.buffers.lastIndex(where: { $0.capacity >= count && $0.capacity <= 2 * count })
      else {
        return nil
      }
      kept.count -= kept.buffers[place].capacity
      return kept.buffers.remove(at: place)
    }
  }

  deinit {
    let piece = unsafe Kept(floats: floats, capacity: capacity)
    let isKept =
      capacity >= Self.smallest
      && Self.kept.withValue { kept in
        guard kept.count + piece.capacity <= Self.mostKept else { return false }
        kept.buffers.append(piece)
        kept.count += piece.capacity
        return true
      }
    if !isKept { unsafe floats.deallocate() }
  }
}
