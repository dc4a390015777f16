import LMoECore
import LMoERuntime

/// How far a training run is: on a terminal one line that is overwritten, and else a line every few steps.
///
/// Both go to stderr. It does nothing where it is told to be quiet.
struct TrainingProgress {
  /// Columns of the bar.
  private static let barWidth = 20
  /// A line is overwritten at most ten times a second.
  private static let interval: UInt64 = 100_000_000

  private let total: Int?
  private let names: [String]
  private let isTerminal: Bool
  private let every: Int
  private let write: (String) -> Void
  private let now: () -> UInt64
  private var loss = MovingMean()
  private var speed = MovingMean()
  private var pace = MovingMean()
  private var last: (step: Int, time: UInt64)?
  private var drawn: UInt64?

  /// Makes one.
  ///
  /// - Parameters:
  ///   - total: The steps of the run, if that is known.
  ///   - columns: The names of what is weighed; "" for the null expert.
  ///   - isTerminal: Whether to overwrite one line.
  ///   - every: Without a terminal, the steps from one line to the next; a twentieth of all if not given.
  ///   - write: Takes what is written.
  ///   - now: A clock of nanoseconds.
  init(
    total: Int?, columns: [String], isTerminal: Bool = Terminal.showsProgress, every: Int? = nil,
    write: ((String) -> Void)? = nil, now: @escaping () -> UInt64 = monotonicNanoseconds
  ) {
    (self.total, self.isTerminal, self.now) = (total, isTerminal, now)
    names = columns.map { RoutingTrace.name(ofColumn: $0).printable.cut(to: 16) }
    self.every = max(1, every ?? max(1, (total ?? 200) / 20))
    self.write = write ?? { isTerminal ? Terminal.overwrite($0) : Terminal.complain($0) }
  }

  /// Takes the metrics of a step that has just ended.
  mutating func step(_ metrics: StepMetrics) {
    let time = now()
    loss.add(metrics.loss)
    speed.add(metrics.tokensPerSecond)
    // The clock of the wall: evaluations and checkpoints are a part of what is left.
    if let last, metrics.step > last.step, time >= last.time {
      pace.add(Double(time - last.time) / 1e9 / Double(metrics.step - last.step))
    }
    last = (metrics.step, time)
    let isLast = metrics.step == total
    if isTerminal {
      if let drawn, time - min(time, drawn) < Self.interval, !isLast { return }
      drawn = time
      write(line(metrics, room: Terminal.width - 1))
    } else if metrics.step % every == 0 || metrics.step == 1 || isLast {
      write(line(metrics, room: nil))
    }
  }

  /// Takes the line away, so that something else can be printed; the next step brings it back.
  mutating func clear() {
    if isTerminal, drawn != nil { write("") }
    drawn = nil
  }

  /// The line; of its parts only as many as there is room for.
  func line(_ metrics: StepMetrics, room: Int?) -> String {
    let count = total.map { "\(grouped(metrics.step))/\(grouped($0))" } ?? grouped(metrics.step)
    var parts = ["step \(count)"]
    parts.append("loss \(loss.value.map { formatted($0, digits: 3) } ?? "–")")
    if let speed = speed.value { parts.append("\(ReportPage.whole(speed)) tokens/s") }
    if let left = secondsLeft(metrics.step) { parts.append("\(duration(seconds: left)) left") }
    let use = use(metrics, count: room == nil ? names.count : 4)
    if !use.isEmpty { parts.append(use) }
    if let entropy = metrics.entropy, entropy.isFinite {
      parts.append("entropy \(formatted(entropy, digits: 2))")
    }
    guard let room else { return parts.joined(separator: ", ") }
    var line = bar(metrics.step)
    for part in parts {
      let next = line.isEmpty ? part : line + "  " + part
      // What is cut off at the end matters least.
      guard next.displayWidth <= room else { break }
      line = next
    }
    return line
  }

  private func bar(_ step: Int) -> String {
    guard let total, total > 0 else { return "" }
    let filled = Int(min(1, Double(step) / Double(total)) * Double(Self.barWidth))
    return String(repeating: "█", count: filled) + String(repeating: "░", count: Self.barWidth - filled)
  }

  private func secondsLeft(_ step: Int) -> Double? {
    guard let total, let pace = pace.value, step < total else { return nil }
    return Double(total - step) * pace
  }

  /// `sql 41 % verse 30 %`: the experts by their share, the largest first.
  private func use(_ metrics: StepMetrics, count: Int) -> String {
    guard metrics.use.count == names.count else { return "" }
    let total = metrics.use.reduce(0) { $1.isFinite ? $0 + Double(abs($1)) : $0 }
    guard total > 0 else { return "" }
    let shares = metrics.use.enumerated().map {
      ($0.offset, $0.element.isFinite ? Double(abs($0.element)) : 0)
    }
    .sorted { ($1.1, $0.0) < ($0.1, $1.0) }
    let shown = shares.prefix(max(1, min(count, 8))).map { column, weight in
      "\(names[column]) \(formatted(weight / total * 100, digits: 0)) %"
    }
    return shown.joined(separator: " ") + (shares.count > shown.count ? " …" : "")
  }
}

/// A mean that forgets: the last ten or so count.
private struct MovingMean {
  private var sum = 0.0
  private var weight = 0.0

  /// The mean; nil before the first number.
  var value: Double? { weight > 0 ? sum / weight : nil }

  /// Takes a number; one that is not finite does not count.
  mutating func add(_ number: Double) {
    guard number.isFinite else { return }
    (sum, weight) = (sum * 0.9 + number, weight * 0.9 + 1)
  }
}
