import LMoEFormat
import Testing

@testable import LMoERuntime

/// Texts that grow in turns.
@Suite struct GeneratorTests {
  @Test func `texts of two models that take turns are those of each alone`() throws {
    let fixture = try RuntimeFixture()
    let base = try LoadedBase(fixture.bundle(base: "families/llama"), on: RuntimeFixture.pool)
    var options = Generator.Options()
    options.sampling = .greedy
    options.tokens = 12
    let prompts = [[1, 2, 3], [40, 50, 60, 70]]
    func alone(_ prompt: [Int]) throws -> [Int] {
      var tokens: [Int] = []
      try Generator(Model(base), options).run([prompt]) { _, event in
        if case .token(let token) = event { tokens.append(token) }
        return true
      }
      return tokens
    }
    let generators = try prompts.map { _ in Generator(try Model(base), options) }
    var found = prompts.map { _ in [Int]() }
    var ends = prompts.map { _ in 0 }
    func take(_ number: Int, _ event: Generator.Event) -> Bool {
      switch event {
      case .token(let token): found[number].append(token)
      case .end: ends[number] += 1
      }
      return true
    }
    var texts = try prompts.indices.map { number in
      try generators[number].begin([prompts[number]]) { take(number, $1) }
    }
    for turn in 0..<12 {
      #expect(texts.allSatisfy { !$0.areEnded })
      for number in turn % 2 == 0 ? [0, 1] : [1, 0] {
        try generators[number].advance(&texts[number]) { take(number, $1) }
      }
    }
    #expect(texts.allSatisfy { $0.areEnded } && ends == [1, 1])
    #expect(try found == prompts.map(alone))
    // Nothing comes of a text that has ended.
    try generators[0].advance(&texts[0]) { take(0, $1) }
    #expect(found[0].count == 12 && generators[0].measurement.tokens == 12)
  }
}
