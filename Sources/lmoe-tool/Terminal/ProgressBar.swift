import LMoECore

/// A progress bar on stderr; nothing where stderr is not a terminal.
final class ProgressBar: Sendable {
  private struct State {
    var done: UInt64 = 0
    var drawn: UInt64 = 0
  }

  private let title: String
  private let total: UInt64
  private let start = monotonicNanoseconds()
  private let state = Guarded(State())

  /// A bar for `total` bytes of work.
  init(_ title: String, total: UInt64) {
    self.title = title
    self.total = max(total, 1)
  }

  /// `bytes` more are done.
  func advance(_ bytes: UInt64) {
    guard Terminal.showsProgress else { return }
    state.withValue { state in
      state.done += bytes
      let now = monotonicNanoseconds()
      guard now - state.drawn > 100_000_000 else { return }
      state.drawn = now
      let share = min(1, Double(state.done) / Double(total))
      let filled = Int(share * 30)
      let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 30 - filled)
      let seconds = Double(now - start) / 1e9
      let rate = UInt64(Double(state.done) / max(seconds, 0.001))
      Terminal.overwrite("\(title) \(bar) \(Int(share * 100)) %  \(formatted(bytes: rate))/s")
    }
  }

  /// Takes the bar away.
  func finish() {
    if Terminal.showsProgress, state.withValue({ $0.drawn > 0 }) { Terminal.overwrite("") }
  }
}
