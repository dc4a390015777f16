import Foundation
import LMoECore
import LMoEFormat
import LMoERuntime
import Testing

/// What texts cost is what PyTorch found.
@Suite struct EvaluationTests {
  @Test func `the matrix of the trained model`() throws {
    let fixture = try RuntimeFixture()
    let names = ["arithmetic", "json", "sql", "verse"]
    let base = try LoadedBase(
      fixture.bundle(base: "embedded/base", experts: names.map { ($0, "embedded/" + $0) }),
      on: RuntimeFixture.pool)
    let tokenizer = try Tokenizer(bundle: base.bundle)
    let matrix = try JSON(
      parsing: [UInt8](try Data(contentsOf: URL(filePath: RuntimeFixture.path("embedded/matrix.json")))))
    for domain in ["general", "verse"] {
      let path = RuntimeFixture.path("embedded/text/\(domain).test.jsonl")
      let data = try TextData(
        domain: domain, path: path, bytes: [UInt8](try Data(contentsOf: URL(filePath: path))))
      let samples = data.documents.map { Evaluation.sample($0, tokenizer, boundary: 0) }
      for (who, selection) in [("base", Selection.base), ("verse", .expert("verse"))] {
        let found = try Evaluation.of(samples, by: Model(base, selection: selection), context: 512)
        let expected = try #require(matrix["loss"]?[who]?[domain]?.double)
        #expect(found.tokens == matrix["tokens"]?[domain]?.int)
        #expect(abs(found.natsPerToken - expected) < 1e-4, "\(who) on \(domain): \(found.natsPerToken)")
        #expect(abs(found.perplexity - exp(found.natsPerToken)) < 1e-9 * found.perplexity)
        let bytes = data.documents.reduce(0) { $0 + $1.targetBytes }
        #expect(found.bytes == bytes)
      }
    }
  }

  @Test func `only completions are scored, and a long text in parts`() throws {
    let fixture = try RuntimeFixture()
    let base = try LoadedBase(fixture.bundle(base: "embedded/base"), on: RuntimeFixture.pool)
    let tokenizer = try Tokenizer(bundle: base.bundle)
    let model = try Model(base)
    let whole = Evaluation.sample(
      TextDocument(text: Array("The fox runs home.".utf8)), tokenizer, boundary: 0)
    let split = Evaluation.sample(
      TextDocument(prompt: Array("The fox".utf8), text: Array(" runs home.".utf8)), tokenizer, boundary: 0)
    #expect(split.tokens == whole.tokens && whole.start == 1 && split.start > 1 && split.bytes == 11)
    let all = try Evaluation.of([whole], by: model, context: 512)
    let part = try Evaluation.of([split], by: model, context: 512)
    #expect(all.tokens == whole.tokens.count - 1 && part.tokens == whole.tokens.count - split.start)
    #expect(part.nats < all.nats && part.nats > 0)
    let logits = try model.logits(Array(whole.tokens.dropLast()))
    let sum = (split.start..<whole.tokens.count).reduce(0.0) { sum, index in
      let row = logits[index - 1].map(Double.init)
      return sum + log(row.reduce(0) { $0 + exp($1) }) - row[whole.tokens[index]]
    }
    #expect(abs(part.nats - sum) < 1e-4)
    // In parts of 4 tokens each part's first token is not scored.
    let parts = try Evaluation.of([whole], by: model, context: 4)
    #expect(parts.tokens == whole.tokens.count - (whole.tokens.count + 3) / 4)
    #expect(try Evaluation.of([], by: model, context: 4).natsPerToken.isNaN)
  }

  @Test(arguments: [
    (#"{"text": "a"}"# + "\n\n" + #"{"prompt": "b", "completion": "c"}"# + "\n", "2"),
    (#"{"txt": "a"}"#, #"line 1: it has neither "text", nor "prompt" and "completion", nor "messages""#),
    (#"{"text": "a"}"# + "\n{", "line 2: "), (#"{"text": 3}"#, "line 1: "), ("", "0"),
  ])
  func `lines of JSON`(text: String, expected: String) {
    do {
      let data = try TextData(domain: "d", path: "x.jsonl", bytes: Array(text.utf8))
      #expect("\(data.documents.count)" == expected)
    } catch {
      #expect("\(error)".hasPrefix("x.jsonl: " + expected))
    }
  }

  @Test func `a text that is none`() {
    #expect(throws: RuntimeError.self) { try TextData(domain: "d", path: "x.txt", bytes: [0x61, 0xFF]) }
  }
}

private let storiesPath = RuntimeFixture.path("../../shared/data/stories260K/config.json")

/// The optional checkpoint: 200 greedy tokens are those of transformers.
@Suite(.enabled(if: FileManager.default.fileExists(atPath: storiesPath))) struct StoriesTests {
  @Test func `once upon a time`() throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(base: "../../shared/data/stories260K")
    let json = try JSON(
      parsing: [UInt8](try Data(contentsOf: URL(filePath: RuntimeFixture.path("stories260K.json")))))
    let prompt = try #require(json["prompt_ids"]?.array).compactMap(\.int)
    let expected = try #require(json["continuation_ids"]?.array).compactMap(\.int)
    var options = Generator.Options()
    options.sampling = .greedy
    options.tokens = expected.count
    var found: [Int] = []
    try Generator(Model(LoadedBase(bundle, on: RuntimeFixture.pool)), options).run([prompt]) { _, event in
      if case .token(let token) = event { found.append(token) }
      return true
    }
    #expect(expected.count == 200 && found == expected)
    let text = try Tokenizer(bundle: bundle).encode("Once upon a time", addingSpecialTokens: true)
    #expect(text == prompt)
  }
}
