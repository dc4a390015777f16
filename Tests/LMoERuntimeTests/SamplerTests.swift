import LMoECore
import Testing

@testable import LMoERuntime

/// How a token is chosen.
@Suite struct SamplerTests {
  private func options(_ change: (inout SamplingOptions) -> Void) -> SamplingOptions {
    var options = SamplingOptions()
    options.temperature = 1
    change(&options)
    return options
  }

  /// The share of each token in many draws.
  private func shares(_ logits: [Float], _ options: SamplingOptions, after text: [Int] = []) -> [Double] {
    var sampler = Sampler(options)
    var counts = [Double](repeating: 0, count: logits.count)
    for _ in 0..<20_000 { counts[sampler.next(logits, after: text)] += 1 }
    return counts.map { $0 / 20_000 }
  }

  private func expect(_ found: [Double], _ expected: [Double]) {
    for (share, wanted) in zip(found, expected) {
      #expect(abs(share - wanted) < 0.015 && (wanted > 0) == (share > 0), "\(found) for \(expected)")
    }
  }

  @Test func `greedy takes the largest, and of equal ones the first`() {
    var sampler = Sampler(.greedy)
    #expect(sampler.next([0, 3, 3, -1], after: []) == 1)
    #expect(sampler.next([5], after: []) == 0)
    #expect(sampler.next([-3, -2, -.infinity], after: []) == 1)
  }

  @Test func `shares are those of the softmax`() {
    // log 8, log 4, log 2, log 2: shares 1/2, 1/4, 1/8, 1/8.
    let logits: [Float] = [2.0794415, 1.3862944, 0.6931472, 0.6931472]
    expect(shares(logits, options { _ in }), [0.5, 0.25, 0.125, 0.125])
    // Squared and made to add up again: 64, 16, 4, 4 of 88.
    expect(shares(logits, options { $0.temperature = 0.5 }), [64.0 / 88, 16.0 / 88, 4.0 / 88, 4.0 / 88])
    expect(shares(logits, options { $0.topK = 2 }), [2.0 / 3, 1.0 / 3, 0, 0])
    // Of equal ones the first stays.
    expect(shares(logits, options { $0.topK = 3 }), [4.0 / 7, 2.0 / 7, 1.0 / 7, 0])
    expect(shares(logits, options { $0.topP = 0.5 }), [1, 0, 0, 0])
    expect(shares(logits, options { $0.topP = 0.6 }), [2.0 / 3, 1.0 / 3, 0, 0])
    expect(shares(logits, options { $0.topP = 0 }), [1, 0, 0, 0])
    expect(shares(logits, options { $0.minP = 0.4 }), [2.0 / 3, 1.0 / 3, 0, 0])
    expect(shares(logits, options { $0.minP = 1 }), [1, 0, 0, 0])
    expect(shares(logits, options { ($0.topK, $0.topP, $0.minP) = (3, 0.9, 0.3) }), [2.0 / 3, 1.0 / 3, 0, 0])
  }

  @Test func `a penalty is for tokens that are there`() {
    // Positive logits are divided, negative ones multiplied.
    var sampler = Sampler(options { ($0.temperature, $0.repetitionPenalty) = (0, 2) })
    #expect(sampler.next([3, 2, -1], after: []) == 0)
    #expect(sampler.next([3, 2, -1], after: [0, 0, 7]) == 1)
    #expect(sampler.next([-1, -1.5, -9], after: [0]) == 1)
  }

  @Test func `the same seed, the same tokens`() {
    let logits = (0..<300).map { Float(($0 * 7919) % 300) / 40 }
    func draw(_ seed: UInt64) -> [Int] {
      var sampler = Sampler(options { ($0.seed, $0.topK) = (seed, 40) })
      return (0..<50).map { _ in sampler.next(logits, after: []) }
    }
    #expect(draw(1) == draw(1) && draw(1) != draw(2))
    let best = Set(logits.indices.sorted { logits[$0] > logits[$1] }.prefix(40))
    #expect(Set(draw(3)).isSubset(of: best))
  }
}

/// Strings that end a text, wherever the parts are cut.
@Suite struct StopStringsTests {
  private func run(_ text: String, _ strings: [String], step: Int) -> (String, Bool) {
    var stop = StopStrings(strings)
    var out: [UInt8] = []
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: step) {
      out += stop.append(bytes[start..<min(start + step, bytes.count)])
    }
    let isFound = stop.isFound
    out += stop.finish()
    return (String(decoding: out, as: UTF8.self), isFound)
  }

  @Test(arguments: 1...9) func `every way to cut`(step: Int) {
    #expect(run("one two three", ["two"], step: step) == ("one ", true))
    #expect(run("one two three", ["four"], step: step) == ("one two three", false))
    #expect(run("ababac", ["abac"], step: step) == ("ab", true))
    #expect(run("aab", ["b", "ab"], step: step).1)
    #expect(run("tw", ["two"], step: step) == ("tw", false))
    #expect(run("", ["x"], step: step) == ("", false))
    #expect(run("text", ["", "zz"], step: step) == ("text", false))
    #expect(run("a€b", ["€"], step: step) == ("a", true))
  }

  @Test func `nothing that may be of a stop string is given away`() {
    var stop = StopStrings(["<end>"])
    #expect(stop.append(Array("ab<en".utf8)) == Array("ab".utf8))
    #expect(stop.append(Array("x<".utf8)) == Array("<enx".utf8))
    #expect(stop.append(Array("end>more".utf8)).isEmpty && stop.isFound)
    #expect(stop.append(Array("more".utf8)).isEmpty && stop.finish().isEmpty)
  }
}

/// What the files of a checkpoint say about texts.
@Suite struct TextSettingsTests {
  private func settings(_ generation: String, _ configuration: String = "{}") throws -> TextSettings {
    TextSettings(
      generation: try JSON(parsing: Array(generation.utf8)),
      configuration: try JSON(parsing: Array(configuration.utf8)))
  }

  @Test func `tokens and sampling`() throws {
    var settings = try settings(#"{"eos_token_id": [2, 0], "bos_token_id": 1}"#)
    #expect(settings.endTokens == [0, 2] && settings.beginToken == 1 && settings.sampling == .greedy)
    settings = try self.settings("{}", #"{"eos_token_id": 5, "bos_token_id": 4}"#)
    #expect(settings.endTokens == [5] && settings.beginToken == 4)
    settings = try self.settings(
      #"{"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "eos_token_id": null}"#,
      #"{"eos_token_id": 3}"#)
    #expect(settings.endTokens == [3])
    #expect(
      settings.sampling.temperature == 0.6 && settings.sampling.topP == 0.9 && settings.sampling.topK == 20)
    settings = try self.settings(#"{"do_sample": true}"#)
    #expect(settings.sampling.temperature == 1 && settings.sampling.topK == 50)
    // Without do_sample the rest is without effect, as in transformers.
    settings = try self.settings(#"{"temperature": 0.6, "top_k": "many"}"#)
    #expect(settings.sampling == .greedy)
    settings = try self.settings(#"{"do_sample": true, "temperature": -3, "top_k": 0, "eos_token_id": "x"}"#)
    #expect(settings.sampling.temperature == 1 && settings.sampling.topK == nil && settings.endTokens.isEmpty)
  }
}
