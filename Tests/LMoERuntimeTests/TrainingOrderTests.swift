import LMoECore
import LMoERuntime
import Testing

/// In which order documents come.
@Suite struct TrainingOrderTests {
  typealias Fixture = TrainingDataFixture

  /// These orders are a promise: a run that is begun again has them.
  @Test func `the order follows from the seed, in this version and the next`() throws {
    let files = [("a.jsonl", Fixture.numbered("a", 5)), ("b.jsonl", Fixture.numbered("b", 3))]
    let found = try Fixture.texts(try Fixture.stream(files), 16)
    #expect(
      found == [
        "b2", "a1", "a2", "a3", "b1", "a0", "b0", "a4", "a2", "a3", "b0", "a0", "b1", "a4", "a1", "b2",
      ])
    let other = try Fixture.texts(try Fixture.stream(files, Fixture.settings(seed: 2)), 16)
    #expect(other != found && Set(other) == Set(found))
  }

  @Test func `without shuffling the order is the file's`() throws {
    let settings = Fixture.settings(isShuffled: false)
    let stream = try Fixture.stream([("a.jsonl", Fixture.numbered("a", 4))], settings)
    #expect(try Fixture.texts(stream, 9) == ["a0", "a1", "a2", "a3", "a0", "a1", "a2", "a3", "a0"])
    let both = try Fixture.stream(
      [("a.jsonl", Fixture.numbered("a", 4)), ("b.jsonl", Fixture.numbered("b", 2))], settings)
    #expect(try Fixture.texts(both, 7) == ["a0", "b0", "a1", "a2", "b1", "a3", "a0"])
  }

  @Test func `every epoch has every document once, in an order of its own`() throws {
    for count in Array(1...40) + [63, 64, 65, 255, 256, 257, 1000] {
      let stream = try Fixture.stream([("a.jsonl", Fixture.numbered("a", count))])
      let epochs = try (0..<3).map { _ in try Fixture.texts(stream, count) }
      for epoch in epochs { try #require(Set(epoch).count == count, "\(count)") }
      #expect(count < 8 || Set(epochs).count == 3, "\(count)")
      #expect(stream.epoch == 3 && stream.documentsDrawn == 3 * count && stream.documentCount == count)
    }
  }

  @Test func `each document is equally likely to come first`() throws {
    var firsts: [String: Int] = [:]
    for seed in 0..<700 {
      let stream = try Fixture.stream(
        [("a.jsonl", Fixture.numbered("a", 7))], Fixture.settings(seed: UInt64(seed)))
      firsts[try Fixture.texts(stream, 1)[0], default: 0] += 1
    }
    // χ² with 6 degrees of freedom is beyond 22.5 once in a thousand.
    #expect(firsts.values.reduce(0.0) { $0 + Double(($1 - 100) * ($1 - 100)) / 100 } < 22.5)
    #expect(firsts.count == 7)
  }

  @Test func `without weights all documents of all sources come once an epoch, mixed`() throws {
    let stream = try Fixture.stream(
      [
        ("a.jsonl", Fixture.numbered("a", 300)), ("b.jsonl", Fixture.numbered("b", 77)),
        ("c.jsonl", Fixture.numbered("c", 1)),
      ])
    for _ in 0..<3 {
      let epoch = try Fixture.texts(stream, 378)
      #expect(Set(epoch).count == 378)
      let places = epoch.indices.filter { epoch[$0].hasPrefix("b") }
      #expect(places[38] > 150 && places[38] < 230)
      // Not evenly: that would be a pattern to learn.
      #expect(Set(zip(places.dropFirst(), places).map { $0 - $1 }).count > 3)
    }
  }

  @Test func `weights are met to within a document`() throws {
    let stream = try Fixture.stream(
      [
        ("a.jsonl", Fixture.numbered("a", 10)), ("b.jsonl", Fixture.numbered("b", 90)),
        ("c.jsonl", Fixture.numbered("c", 5)),
      ], weights: [0.5, 0.2, 0.3])
    var counts: [String: Int] = [:]
    for drawn in 1...1000 {
      let sequence = try stream.next(tokens: 1)[0]
      counts[sequence.domain, default: 0] += 1
      for (domain, share) in [("a", 0.5), ("b", 0.2), ("c", 0.3)] {
        try #require(abs(Double(counts[domain] ?? 0) - share * Double(drawn)) < 2, "\(domain) after \(drawn)")
      }
    }
    #expect(abs(stream.epoch - 1000.0 / 105) < 1e-12)
    #expect(stream.domains == ["a", "b", "c"])
  }

  @Test(arguments: [[1, 0], [1, -1], [.nan, 1], [.infinity, 1]]) func `weights that are none`(
    weights: [Double]
  ) {
    let files = [("a.jsonl", Fixture.numbered("a", 1)), ("b.jsonl", Fixture.numbered("b", 1))]
    #expect(throws: RuntimeError.self) { try Fixture.stream(files, weights: weights) }
  }
}
