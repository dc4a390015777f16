import LMoECore
import LMoERuntime
import Testing

/// What sequences documents become.
@Suite struct TrainingStreamTests {
  typealias Fixture = TrainingDataFixture

  private static let poem = "The silver forest is so plain, the shepherd and the boat are free."

  private func one(_ line: String, _ settings: TrainingStream.Settings) throws -> [TrainingSequence] {
    try Fixture.stream([("d.jsonl", Array(line.utf8))], settings).next(tokens: 1)
  }

  /// All sequences of the first epoch.
  private func epoch(_ stream: TrainingStream) throws -> [TrainingSequence] {
    var sequences: [TrainingSequence] = []
    while true {
      let next = try stream.next(tokens: 1)
      if stream.documentsDrawn > stream.documentCount { return sequences }
      sequences += next
    }
  }

  @Test func `texts, prompts and tokens around them`() throws {
    let lines = """
      {"text": "The fox runs."}
      {"prompt": "The fox", "completion": " runs.", "domain": "sql"}
      {"prompt": "", "completion": "The"}
      {"text": null, "prompt": "The", "completion": ""}
      """
    func sequences(between: Int?, end: Int?) throws -> [TrainingSequence] {
      try epoch(
        try Fixture.stream(
          [("d.jsonl", Array(lines.utf8))], Fixture.settings(between: between, end: end, isShuffled: false)))
    }
    let plain = try sequences(between: nil, end: nil)
    #expect(plain.map { Fixture.text($0.tokens) } == ["The fox runs.", "The fox runs."])
    #expect(plain.map(\.domain) == ["d", "sql"])
    #expect(plain[0].isTarget == [false] + [Bool](repeating: true, count: plain[0].tokens.count - 1))
    #expect(Fixture.targets(plain[1]) == " runs." && plain[1].targetCount == 2)
    let between = try sequences(between: 0, end: 2)
    #expect(
      between.map { Fixture.text($0.tokens) } == [
        "<|endoftext|>The fox runs.<|endoftext|>", "<|endoftext|>The fox runs.<|endoftext|>",
        "<|endoftext|>The<|endoftext|>", "<|endoftext|>The<|endoftext|>",
      ])
    #expect(between.map(Fixture.targets).first == "The fox runs.<|endoftext|>")
    #expect(
      between.map(Fixture.targets)[1...] == [" runs.<|endoftext|>", "The<|endoftext|>", "<|endoftext|>"])
    let end = try sequences(between: nil, end: 2)
    #expect(end.map { Fixture.text($0.tokens) }[1] == "The fox runs.<|im_end|>")
    #expect(Fixture.targets(end[1]) == " runs.<|im_end|>")
  }

  @Test func `a text that ends with the end token is not ended twice`() throws {
    let line = #"{"text": "The fox<|im_end|>"}"#
    #expect(Fixture.text(try one(line, Fixture.settings(end: 2))[0].tokens) == "The fox<|im_end|>")
  }

  @Test func `documents without a target are skipped and counted`() throws {
    let lines =
      "{\"prompt\": \"The\", \"completion\": \"\"}\n"
      + String(decoding: Fixture.numbered("a", 3), as: UTF8.self)
    let stream = try Fixture.stream([("d.jsonl", Array(lines.utf8))])
    #expect(Set(try Fixture.texts(stream, 3)) == ["a0", "a1", "a2"])
    _ = try Fixture.texts(stream, 3)
    #expect(stream.documentsSkipped >= 1 && stream.documentsSkipped <= 2)
    _ = try Fixture.texts(stream, 1)
    #expect(stream.documentsDrawn > 7)
  }

  @Test func `splitting loses no target but the first token of a part`() throws {
    let tokens = Fixture.tokenizer.encode(Self.poem, addingSpecialTokens: false)
    for context in 2...tokens.count + 1 {
      let parts = try epoch(try Fixture.stream([("d.jsonl", json(Self.poem))], Fixture.settings(context)))
      let lone = tokens.count % context == 1 ? 1 : 0
      #expect(parts.flatMap(\.tokens) == Array(tokens.dropLast(lone)))
      #expect(parts.count == tokens.count / context + (tokens.count % context > 1 ? 1 : 0))
      #expect(
        parts.reduce(0) { $0 + $1.targetCount } == tokens.count - (tokens.count + context - 1) / context)
      #expect(parts.allSatisfy { $0.tokens.count <= context && !$0.isTarget[0] && $0.isTarget.last == true })
    }
  }

  @Test func `a prompt longer than the context is not learned`() throws {
    let line = #"{"prompt": "\#(Self.poem)", "completion": " So it is."}"#
    let parts = try epoch(try Fixture.stream([("d.jsonl", Array(line.utf8))], Fixture.settings(8)))
    let targets = parts.map(Fixture.targets).joined()
    #expect(" So it is.".hasSuffix(targets) && targets.utf8.count > 4 && parts.count <= 2)
  }

  private func json(_ text: String) -> [UInt8] { Array(#"{"text": "\#(text)"}"#.utf8) }

  @Test func `truncating leaves the beginning, refusing names the line`() throws {
    let tokens = Fixture.tokenizer.encode(Self.poem, addingSpecialTokens: false)
    let cut = try epoch(
      try Fixture.stream([("d.jsonl", json(Self.poem))], Fixture.settings(8, long: .truncate)))
    #expect(cut.map(\.tokens) == [Array(tokens[..<8])])
    let lines = Fixture.numbered("a", 3) + Array("\n".utf8) + json(Self.poem)
    let stream = try Fixture.stream([("d.jsonl", lines)], Fixture.settings(8, long: .refuse))
    let error = #expect(throws: RuntimeError.self) { _ = try Fixture.texts(stream, 4) }
    #expect(
      error?.description
        == "d.jsonl: line 5: it has \(tokens.count) tokens and the context 8; split or truncate "
        + "long texts, or give a larger context")
  }

  @Test func `a source with nothing to learn is an error`() throws {
    let line = #"{"prompt": "The fox", "completion": ""}"# + "\n"
    let stream = try Fixture.stream([("d.jsonl", Array((line + line).utf8))])
    let error = #expect(throws: RuntimeError.self) { try stream.next(tokens: 8) }
    #expect(error?.description == "d.jsonl: none of its 2 texts has anything to learn within 64 tokens")
  }

  @Test func `one text of many with something to learn is enough`() throws {
    let empty = #"{"prompt": "The fox", "completion": ""}"# + "\n"
    for seed in 0..<20 {
      let lines = Array(String(repeating: empty, count: 5).utf8) + Fixture.numbered("a", 1)
      let stream = try Fixture.stream([("d.jsonl", lines)], Fixture.settings(seed: UInt64(seed)))
      #expect(try Fixture.texts(stream, 6) == [String](repeating: "a0", count: 6))
      #expect(stream.documentsDrawn == stream.documentsSkipped + 6)
    }
  }

  @Test func `a budget is filled and not exceeded`() throws {
    let files = [("a.jsonl", Fixture.numbered("a", 50)), ("p.jsonl", json(Self.poem))]
    let settings = Fixture.settings(8, between: 0)
    let singly = try Fixture.stream(files, settings)
    let packed = try Fixture.stream(files, settings)
    var expected: [TrainingSequence] = []
    var found: [TrainingSequence] = []
    for _ in 0..<60 {
      let group = try packed.next(tokens: 20)
      let count = group.reduce(0) { $0 + $1.tokens.count }
      #expect(count <= 20)
      found += group
      while expected.count < found.count { expected += try singly.next(tokens: 1) }
      // What comes next would not have fitted.
      let next = try singly.next(tokens: 1)
      #expect(count + next[0].tokens.count > 20)
      expected += next
    }
    #expect(found == Array(expected[..<found.count]))
  }

  @Test func `restored anywhere, the stream goes on as if nothing had been`() throws {
    let files = [
      ("a.jsonl", Fixture.numbered("a", 23)),
      ("p.jsonl", json(Self.poem) + Array("\n".utf8) + json("It is.")),
      (
        "e.jsonl",
        Array(#"{"prompt": "The fox", "completion": ""}"#.utf8) + Array("\n".utf8) + json("Rain is.")
      ),
    ]
    let settings = Fixture.settings(8, between: 0)
    let stream = try Fixture.stream(files, weights: [3, 2, 1], settings)
    var cursors: [TrainingStream.Cursor] = []
    var groups: [[TrainingSequence]] = []
    var facts: [[Int]] = []
    for _ in 0..<210 {
      cursors.append(stream.cursor)
      groups.append(try stream.next(tokens: 17))
      facts.append([stream.documentsDrawn, stream.documentsSkipped])
    }
    let other = try Fixture.stream(files, weights: [3, 2, 1], settings)
    for point in (0..<200).reversed() {
      let json = try JSON(parsing: Array(cursors[point].json.serialized().utf8))
      let cursor = try #require(TrainingStream.Cursor(json))
      #expect(cursor == cursors[point])
      try other.restore(cursor)
      #expect(other.cursor == cursor)
      for step in point..<point + 10 {
        try #require(try other.next(tokens: 17) == groups[step], "restored at \(point), step \(step)")
        try #require([other.documentsDrawn, other.documentsSkipped] == facts[step])
      }
    }
  }

  @Test(arguments: [
    "{}", "[]", #"{"drawn": [-1], "skipped": 0, "files": []}"#,
    #"{"drawn": [0], "skipped": -1, "files": []}"#,
    #"{"drawn": [0], "skipped": 0, "files": [{}]}"#,
    #"{"drawn": [0], "skipped": 0, "files": [], "unfinished": {"source": 0, "part": 0}}"#,
    #"{"drawn": [1], "skipped": 0, "files": [], "unfinished": {"source": 1, "part": 0}}"#,
    #"{"drawn": [1], "skipped": 0, "files": [], "unfinished": {"source": 0, "part": -1}}"#,
  ]) func `what is no cursor`(text: String) throws {
    #expect(TrainingStream.Cursor(try JSON(parsing: Array(text.utf8))) == nil)
  }
}
