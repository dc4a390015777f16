import LMoECore

/// Where the time of a computation goes: each moment belongs to one stage.
///
/// One thread at a time uses it, the one that shares the work out. Without a timer nothing is timed.
public final class StageTimer {
  /// What is done.
  public enum Stage: String, CaseIterable, Hashable, Sendable {
    /// Products of matrices: the linear layers, the experts' factors and their gradients.
    case products
    /// Queries with keys, and what follows up to the mixed values; forward and backward.
    case attention
    /// The final norm, the head and the cross-entropy, and the way back through them.
    case head
    /// What gates decide, and the way back through that.
    case gates
    /// The optimizer.
    case optimizer
    /// All else: norms, activations, rotations, copies, and what the gates' weights are multiplied with.
    case passes
  }

  /// Seconds so far.
  public private(set) var seconds: [Stage: Double] = [:]
  private var stage = Stage.passes
  private var start = monotonicNanoseconds()

  /// Begins with `passes`.
  public init() {}

  /// Begins a stage, unless one that takes in all others goes on.
  ///
  /// - Returns: The stage before, for `leave`.
  func enter(_ next: Stage) -> Stage {
    let before = stage
    if before != .head { go(to: next) }
    return before
  }

  /// Goes back to the stage before.
  func leave(to before: Stage) { go(to: before) }

  /// Forgets all, and begins with `passes`.
  public func reset() {
    seconds = [:]
    (stage, start) = (.passes, monotonicNanoseconds())
  }

  /// Counts what belongs to the stage that goes on.
  public func stop() { go(to: .passes) }

  private func go(to next: Stage) {
    let now = monotonicNanoseconds()
    seconds[stage, default: 0] += Double(now - start) * 1e-9
    (stage, start) = (next, now)
  }
}

extension Compute {
  /// Runs `body`, whose time belongs to `stage`, less that of stages within.
  func timed<Result>(_ stage: StageTimer.Stage, _ body: () -> Result) -> Result {
    let before = timer?.enter(stage)
    defer { if let before { timer?.leave(to: before) } }
    return body()
  }
}
