import LMoEFormat
import LMoERuntime
import Testing

/// A text in steps is the same text.
@Suite struct CacheTests {
  static let families = ["llama", "llama-yarn", "mistral", "qwen2", "qwen3"]

  private func tokens(_ count: Int, vocabulary: Int) -> [Int] {
    (0..<count).map { ($0 * 37 + 11) % vocabulary }
  }

  @Test(arguments: families, [KVCache.Precision.f32, .f16])
  func `cached decoding equals the full forward`(family: String, precision: KVCache.Precision) throws {
    let fixture = try RuntimeFixture()
    let model = try Model(LoadedBase(fixture.bundle(base: "families/" + family), on: RuntimeFixture.pool))
    let tokens = tokens(60, vocabulary: model.configuration.vocabularySize)
    let whole = try model.logits(tokens)
    let tolerance = precision == .f32 ? 1e-5 : 2e-3
    for steps in [Array(repeating: 1, count: 60), [7, 1, 1, 30, 2, 9, 10], [59, 1], [1, 59]] {
      #expect(deviation(try model.logits(tokens, steps: steps, cache: precision), whole) <= tolerance)
    }
  }

  @Test(arguments: families) func `texts of different lengths beside each other`(family: String) throws {
    let fixture = try RuntimeFixture()
    let model = try Model(LoadedBase(fixture.bundle(base: "families/" + family), on: RuntimeFixture.pool))
    let texts = [3, 1, 40, 12].map { tokens($0, vocabulary: model.configuration.vocabularySize).reversed() }
      .map(Array.init)
    let alone = try texts.map { try model.logits($0) }
    var together: [[[Float]]] = texts.map { _ in [] }
    let caches = texts.map { _ in model.makeCache(capacity: 1) }
    try model.forward(zip(texts, caches).map { Model.Segment($0, $1) }, wanting: .all) {
      together[$0.segment].append($0.logits.array)
    }
    for (one, other) in zip(alone, together) { #expect(deviation(other, one) <= 1e-5) }
    // And one step further, together.
    var next: [[Float]] = texts.map { _ in [] }
    try model.forward(zip(texts, caches).map { Model.Segment([$0.count], $1) }) {
      next[$0.segment] = $0.logits.array
    }
    for (index, text) in texts.enumerated() {
      let whole = try model.logits(text + [text.count])
      #expect(deviation([next[index]], [whole[text.count]]) <= 1e-5)
    }
  }

  @Test func `a long text goes through in parts`() throws {
    let fixture = try RuntimeFixture()
    let model = try Model(LoadedBase(fixture.bundle(base: "embedded/base"), on: RuntimeFixture.pool))
    let tokens = tokens(1100, vocabulary: 2048)
    let last = try model.logits(tokens, steps: [1100])[1099]
    let stepped = try model.logits(tokens, steps: [500, 13, 87, 400, 100])[1099]
    #expect(deviation([stepped], [last]) <= 1e-5)
  }

  @Test func `the same bits, again and by any number of workers`() throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(base: "families/qwen3")
    let tokens = tokens(60, vocabulary: 90)
    let first = try Model(LoadedBase(bundle, on: RuntimeFixture.pool)).logits(tokens)
    #expect(try Model(LoadedBase(bundle, on: RuntimeFixture.pool)).logits(tokens) == first)
    for count in [1, 3] {
      #expect(try Model(LoadedBase(bundle, on: .init(count: count))).logits(tokens) == first)
    }
  }
}
