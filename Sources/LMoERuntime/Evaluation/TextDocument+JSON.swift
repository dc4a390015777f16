import LMoECore

/// What is wrong with a document, for an error that says where it stands.
struct TextDefect: Error {
  let found: String
}

extension TextDocument {
  /// Reads a line of JSON: `text`; `prompt` and `completion`, of which the completion is the target; or
  /// `messages`, of which the assistant's are.
  ///
  /// A member that is null is none. `domain` says what kind of text it is; `tools` go to the chat template.
  init(line: [UInt8], chat: ChatForm) throws(TextDefect) {
    let json: JSON
    do throws(JSONError) { json = try JSON(parsing: line) } catch {
      throw TextDefect(found: error.description)
    }
    guard case .object(let members) = json else { throw TextDefect(found: "it is not a JSON object") }
    func string(_ key: String) throws(TextDefect) -> String? {
      guard let value = members[key], !value.isNull else { return nil }
      guard let text = value.string else { throw TextDefect(found: "its \"\(key)\" is not a string") }
      return text
    }
    let domain = try string("domain")
    if domain?.isEmpty == true { throw TextDefect(found: "its \"domain\" is empty") }
    if let text = try string("text") {
      self.init(parts: [Part(Array(text.utf8), isTarget: true)], domain: domain)
    } else if members["prompt"] != nil, members["completion"] != nil, let prompt = try string("prompt"),
      let completion = try string("completion")
    {
      let parts = [Part(Array(prompt.utf8), isTarget: false), Part(Array(completion.utf8), isTarget: true)]
      self.init(parts: parts, domain: domain)
    } else if let messages = members["messages"], !messages.isNull {
      let tools = members["tools"].flatMap { $0.isNull ? nil : $0 }
      self.init(
        parts: try Self.parts(of: Self.checked(messages), tools: tools, chat: chat), domain: domain,
        isTemplated: true)
    } else {
      throw TextDefect(found: "it has neither \"text\", nor \"prompt\" and \"completion\", nor \"messages\"")
    }
  }

  private static func checked(_ messages: JSON) throws(TextDefect) -> [JSON] {
    guard let messages = messages.array, !messages.isEmpty else {
      throw TextDefect(found: "its \"messages\" are not a list of messages")
    }
    for (index, message) in messages.enumerated() {
      guard message["role"]?.string != nil else {
        throw TextDefect(found: "message \(index + 1) has no \"role\"")
      }
      if let weight = message["weight"], !weight.isNull, weight.double != 0, weight.double != 1 {
        throw TextDefect(found: "the \"weight\" of message \(index + 1) is neither 0 nor 1")
      }
    }
    return messages
  }

  private static func parts(
    of messages: [JSON], tools: JSON?, chat: ChatForm
  ) throws(TextDefect) -> [Part] {
    let answers: ChatTemplate.Answers
    do { answers = try chat.answers(in: messages, tools: tools) } catch {
      throw TextDefect(found: "its \"messages\" have no text: \(error)")
    }
    var parts: [Part] = []
    var end = 0
    for range in answers.ranges {
      parts.append(Part(Array(answers.text[end..<range.lowerBound]), isTarget: false))
      parts.append(Part(Array(answers.text[range]), isTarget: true))
      end = range.upperBound
    }
    return parts + [Part(Array(answers.text[end...]), isTarget: false)]
  }
}
