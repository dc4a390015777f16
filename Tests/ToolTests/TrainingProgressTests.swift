import LMoERuntime
import Testing

@testable import lmoe_tool

/// What a person sees of a training run in the terminal.
@Suite struct TrainingProgressTests {
  /// What was written, and a clock that is set by hand.
  private final class Screen {
    var lines: [String] = []
    var time: UInt64 = 0
  }

  private static func step(_ step: Int, loss: Double = 2, use: [Float] = [0.2, 0.5, 0.3]) -> StepMetrics {
    StepMetrics(
      step: step, tokens: step * 4096, targets: step, seconds: Double(step), loss: loss, gradientNorm: 1,
      rates: [], tokensPerSecond: 5100, use: use, entropy: use.isEmpty ? nil : 0.72)
  }

  private static func progress(
    _ screen: Screen, total: Int? = 400, columns: [String] = ["arithmetic", "sql", ""], isTerminal: Bool
  ) -> TrainingProgress {
    TrainingProgress(
      total: total, columns: columns, isTerminal: isTerminal, write: { screen.lines.append($0) },
      now: { screen.time })
  }

  @Test func `lines without a terminal`() {
    let screen = Screen()
    var progress = Self.progress(screen, isTerminal: false)
    for step in 1...400 {
      screen.time = UInt64(step) * 800_000_000
      progress.step(Self.step(step))
    }
    #expect(screen.lines.count == 21)
    #expect(
      screen.lines[0]
        == "step 1/400, loss 2.000, 5,100 tokens/s, sql 50 % base 30 % arithmetic 20 %, entropy 0.72")
    #expect(screen.lines[10].hasPrefix("step 200/400, loss 2.000, 5,100 tokens/s, 2 min 40 s left, sql 50 %"))
    #expect(screen.lines[20].hasPrefix("step 400/400, loss 2.000, 5,100 tokens/s, sql 50 %"))
  }

  @Test func `a line on a terminal is drawn ten times a second, and the last one`() {
    let screen = Screen()
    var progress = Self.progress(screen, total: 100, isTerminal: true)
    for step in 1...100 {
      screen.time = UInt64(step) * 10_000_000
      progress.step(Self.step(step))
    }
    #expect(screen.lines.count == 11)
    #expect(
      screen.lines.first?.hasPrefix("░░░░░░░░░░░░░░░░░░░░  step 1/100  loss 2.000  5,100 tokens/s") == true)
    #expect(screen.lines.last?.hasPrefix("████████████████████  step 100/100  loss 2.000") == true)
    progress.clear()
    progress.clear()
    #expect(screen.lines.count == 12 && screen.lines.last == "")
  }

  @Test(arguments: [40, 60, 80, 200]) func `it fits, and the experts come last`(room: Int) {
    let screen = Screen()
    var progress = Self.progress(
      screen, columns: ["\u{1B}[31m日本語日本語日本語日本語", "b", "c", "d", "e", "f"], isTerminal: true)
    let step = Self.step(7, use: [0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    progress.step(step)
    let line = progress.line(step, room: room)
    #expect(line.displayWidth <= room && line.contains("step 7/400"))
    #expect(!line.unicodeScalars.contains { $0.value < 0x20 })
    #expect(line.contains("entropy 0.72") == (room == 200) && line.contains(" …") == (room == 200))
  }

  @Test func `the loss is smoothed, and what is not finite is passed over`() {
    let screen = Screen()
    var progress = Self.progress(screen, total: nil, columns: [], isTerminal: false)
    progress.step(Self.step(1, loss: .nan, use: []))
    #expect(screen.lines == ["step 1, loss –, 5,100 tokens/s"])
    for step in 2...10 { progress.step(Self.step(step, loss: step % 2 == 0 ? 1 : 3, use: [])) }
    progress.step(Self.step(11, loss: .infinity, use: []))
    #expect(screen.lines.count == 2 && screen.lines[1].hasPrefix("step 10, loss 1.881,"))
  }
}
