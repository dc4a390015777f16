import LMoECore

/// A progress bar on stderr; nothing where stderr is not a terminal.
final class ProgressBar: Sendable {
  private struct State {
    var done: UInt64 = 0
    var drawn: UInt64 = 0
  }

  private let title: String
  private let total: UInt64
  private let unit: Unit
  private let start = monotonicNanoseconds()
  private let state = Guarded(State())

  /// What is counted.
  enum Unit { case bytes, tokens }

  /// A bar for `total` units of work.
  init(_ title: String, total: UInt64, unit: Unit = .bytes) {
    self.title = title
    self.unit = unit
    self.total = max(total, 1)
  }

  /// `amount` more are done.
  func advance(_ amount: UInt64) {
    guard Terminal.showsProgress else { return }
    state.withValue { state in
      state.done += amount
      let now = monotonicNanoseconds()
      guard now - state.drawn > 100_000_000 else { return }
      state.drawn = now
      let share = min(1, Double(state.done) / Double(total))
      let filled = Int(share * 30)
      let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 30 - filled)
      let seconds = Double(now - start) / 1e9
      let rate = UInt64(Double(state.done) / max(seconds, 0.001))
      Terminal.overwrite(
        "\(title) \(bar) \(Int(share * 100)) %  \(unit == .bytes ? formatted(bytes: rate) : "\(rate) tokens")/s"
      )
    }
  }

  /// Takes the bar away.
  func finish() {
    if Terminal.showsProgress, state.withValue({ $0.drawn > 0 }) { Terminal.overwrite("") }
  }
}
