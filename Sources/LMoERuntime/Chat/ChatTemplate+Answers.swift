import LMoECore

extension ChatTemplate {
  /// A conversation as text, and which of its bytes the model has to say.
  struct Answers: Hashable, Sendable {
    let text: [UInt8]
    /// In order, without overlap.
    let ranges: [Range<Int>]
  }

  /// Renders a conversation and finds the assistant's turns in it.
  ///
  /// Where the template marks them (`generation`), they are what it marks. Else a turn is what the
  /// conversation up to its end has beyond the conversation before it with the generation prompt: what the
  /// model would have had to say there, and how it would have had to end.
  ///
  /// - Parameters:
  ///   - messages: The conversation; an assistant's message with `weight` 0 is left out of the ranges.
  /// - Throws: `TemplateError`, with `inconsistent` where the beginning of a conversation is written
  ///   differently once it goes on.
  func answers(
    in messages: [JSON], variables: [(String, JSON)], now: TemplateDate
  ) throws(TemplateError) -> Answers {
    let whole = try run(messages: messages, addingGenerationPrompt: false, variables: variables, now: now)
    let text = Array(whole.output.utf8)
    let turns = messages.indices.filter {
      messages[$0]["role"]?.string?.hasSameBytes(as: "assistant") == true
    }
    let wanted = turns.filter { messages[$0]["weight"]?.double != 0 }
    let marked = whole.generations
    if !marked.isEmpty, wanted.count == turns.count { return Answers(text: text, ranges: marked) }
    if marked.count == turns.count {
      return Answers(text: text, ranges: zip(turns, marked).filter { wanted.contains($0.0) }.map(\.1))
    }
    /// Where the conversation before `end` ends in the whole one.
    func length(_ end: Int, prompting: Bool) throws(TemplateError) -> Int {
      let part = try render(
        messages: Array(messages[..<end]), addingGenerationPrompt: prompting, variables: variables, now: now)
      guard text.starts(with: part.utf8) else {
        throw TemplateError(.inconsistent, path: path, name: "\(end + 1)")
      }
      return part.utf8.count
    }
    var ranges: [Range<Int>] = []
    for turn in wanted {
      let start = try length(turn, prompting: true)
      let end = turn == messages.count - 1 ? text.count : try length(turn + 1, prompting: false)
      guard start <= end else { throw TemplateError(.inconsistent, path: path, name: "\(turn + 1)") }
      ranges.append(start..<end)
    }
    return Answers(text: text, ranges: ranges)
  }
}
