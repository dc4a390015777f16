import LMoECore
import LMoERuntime
import Testing

/// What of a conversation is to be predicted.
@Suite struct TrainingChatTests {
  typealias Fixture = TrainingDataFixture

  private static let talk = """
    {"role": "user", "content": "Where is the fox?"}, {"role": "assistant", "content": "In the forest."}, \
    {"role": "user", "content": "And the cat?"}, {"role": "assistant", "content": "At home."}
    """

  private func sequences(
    _ template: String, _ messages: String, between: Int? = nil
  ) throws -> [TrainingSequence] {
    let form = ChatForm(
      try ChatFixture.template(template),
      variables: [("eos_token", "<|im_end|>"), ("bos_token", "<|endoftext|>")],
      date: ChatFixture.now)
    let stream = try Fixture.stream(
      [("d.jsonl", Array("{\"messages\": [\(messages)]}".utf8))], Fixture.settings(4096, between: between),
      chat: form)
    return try stream.next(tokens: 1)
  }

  /// Runs of tokens that are to be predicted.
  private func spans(_ sequence: TrainingSequence) -> [String] {
    var spans: [[Int]] = []
    for (index, token) in sequence.tokens.enumerated() where sequence.isTarget[index] {
      if !sequence.isTarget[index - 1] { spans.append([]) }
      spans[spans.count - 1].append(token)
    }
    return spans.map { Fixture.text($0) }
  }

  @Test(arguments: [
    ("chatml", ["In the forest.<|im_end|>", "At home.<|im_end|>"]),
    ("zephyrlike", ["In the forest.<|im_end|>", "At home.<|im_end|>"]),
    ("bracketed", [" In the forest. <|im_end|>", " At home. <|im_end|>"]),
    ("generation", ["In the forest.<|im_end|>", "At home.<|im_end|>"]),
    ("headers", ["In the forest.<|end|>", "At home.<|end|>"]),
  ]) func `the assistant's turns are targets, with what ends them`(template: String, expected: [String])
    throws
  {
    let sequence = try sequences(template, Self.talk)[0]
    #expect(spans(sequence) == expected)
    // The text is the template's, up to the last target.
    let whole = try ChatFixture.template(template).render(
      messages: try #require(try JSON(parsing: Array("[\(Self.talk)]".utf8)).array),
      addingGenerationPrompt: false,
      variables: [("eos_token", "<|im_end|>"), ("bos_token", "<|endoftext|>")], now: ChatFixture.now)
    #expect(whole.hasPrefix(Fixture.text(sequence.tokens)))
  }

  @Test(arguments: ["chatml", "generation"]) func `a turn of weight 0 is only read`(template: String) throws {
    let first = Self.talk.replacing("\"In the forest.\"", with: "\"In the forest.\", \"weight\": 0")
    #expect(spans(try sequences(template, first)[0]) == ["At home.<|im_end|>"])
    let last = Self.talk.replacing("\"At home.\"", with: "\"At home.\", \"weight\": 0")
    let sequence = try sequences(template, last)[0]
    #expect(spans(sequence) == ["In the forest.<|im_end|>"])
    // Nothing is computed beyond the last target.
    #expect(sequence.isTarget.last == true)
  }

  @Test func `a conversation has the tokens that its template writes, and none twice`() throws {
    let sequence = try sequences("chatml", Self.talk, between: 0)[0]
    #expect(Fixture.text(Array(sequence.tokens[..<2])) == "<|endoftext|><|im_start|>")
    #expect(spans(sequence).last == "At home.<|im_end|>")
  }

  @Test func `a template that writes the beginning anew is refused, and the remedy works`() throws {
    let error = #expect(throws: RuntimeError.self) { try sequences("thinking", Self.talk) }
    #expect(
      error?.description
        == "d.jsonl: line 1: its \"messages\" have no text: thinking.jinja: the template writes the "
        + "beginning of the conversation differently once message 3 and what follows are there, so what the model "
        + "said cannot be told apart; give each answer a line of its own, with \"weight\": 0 on the answers before it"
    )
    let remedy = Self.talk.replacing("\"In the forest.\"", with: "\"In the forest.\", \"weight\": 0")
    #expect(spans(try sequences("thinking", remedy)[0]) == ["<think>\n\n</think>\n\nAt home.<|im_end|>"])
    let one =
      Self.talk.split(separator: ", {\"role\": \"user\", \"content\": \"And").first.map(String.init) ?? ""
    #expect(spans(try sequences("thinking", one)[0]) == ["<think>\n\n</think>\n\nIn the forest.<|im_end|>"])
  }

  @Test func `a template's own refusal names the line`() throws {
    let error = #expect(throws: RuntimeError.self) {
      try sequences("bracketed", "{\"role\": \"assistant\", \"content\": \"Hi\"}")
    }
    #expect(
      error?.description.hasPrefix("d.jsonl: line 1: its \"messages\" have no text: bracketed.jinja") == true)
  }

  @Test func `the same lines are held out, by kind and to a limit`() throws {
    let form = ChatForm(try ChatFixture.template("chatml"))
    let lines = """
      {"messages": [\(Self.talk)]}
      {"text": "SELECT 1;", "domain": "sql"}
      {"text": "It rains."}
      {"text": "It snows."}
      """
    let system = SimulatedFileSystem(files: ["d.jsonl": Array(lines.utf8), "e.txt": Array("Plain.".utf8)])
    var heldOut = HeldOut(TextCoding(Fixture.tokenizer, between: 0), chat: form, limit: 2)
    try heldOut.add(TrainingSource(path: "d.jsonl", domain: "talk"), files: system)
    try heldOut.add(TrainingSource(path: "e.txt", domain: "sql"), files: system)
    #expect(heldOut.groups.map(\.domain) == ["talk", "sql"])
    #expect(heldOut.groups.map(\.samples.count) == [2, 2])
    let sequence = try sequences("chatml", Self.talk, between: 0)[0]
    let sample = heldOut.groups[0].samples[0]
    #expect(Array(sample.isTarget[..<sequence.tokens.count]) == sequence.isTarget)
    #expect(sample.isTarget[sequence.tokens.count...].allSatisfy { !$0 })
    #expect(sample.bytes == "In the forest.<|im_end|>\nAt home.<|im_end|>\n".utf8.count)
  }
}
