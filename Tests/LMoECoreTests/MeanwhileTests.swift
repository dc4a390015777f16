import LMoECore
import Testing

@Suite struct MeanwhileTests {
  private struct Refusal: Error, Equatable {}

  @Test(arguments: [true, false]) func `what is made, and what is thrown`(isApart: Bool) throws {
    #expect(try Meanwhile(isApart: isApart) { 7 }.value() == 7)
    let refused = Meanwhile<Int>(isApart: isApart) { throw Refusal() }
    #expect(throws: Refusal()) { try refused.value() }
    // As often as one asks.
    #expect(throws: Refusal()) { try refused.value() }
  }

  @Test func `others go on`() throws {
    let isGiven = Guarded(false)
    // Made before the next line it would not be given in any time.
    let made = Meanwhile {
      let start = ContinuousClock.now
      while !isGiven.withValue({ $0 }) {
        guard start.duration(to: .now) < .seconds(30) else { throw Refusal() }
      }
      return 3
    }
    isGiven.withValue { $0 = true }
    #expect(try made.value() == 3)
  }

  @Test func `it ends before its maker is gone`() {
    let isDone = Guarded(false)
    do {
      let made = Meanwhile {
        for _ in 0..<100_000 { isDone.withValue { _ in } }
        isDone.withValue { $0 = true }
      }
      _ = made
    }
    #expect(isDone.withValue { $0 })
  }
}
