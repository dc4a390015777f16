/// Memory for what the layers of a model keep: for each its own, or for all the same.
final class TapeMemory {
  private let isShared: Bool
  private var pieces: [Activations] = []
  private var used = 0

  /// - Parameter isShared: Whether every layer gets what the first one got, as layers may that are computed again.
  init(isShared: Bool) { self.isShared = isShared }

  /// Begins a layer.
  func begin() { used = 0 }

  /// The next piece of a layer.
  func next() -> Activations {
    guard isShared else { return Activations() }
    if used == pieces.count { pieces.append(Activations()) }
    used += 1
    return pieces[used - 1]
  }
}
