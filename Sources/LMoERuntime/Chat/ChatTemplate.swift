public import LMoECore

/// A message of a conversation.
public struct ChatMessage: Hashable, Sendable {
  /// Who says it: `system`, `user`, `assistant` or what else the template knows.
  public var role: String
  /// What is said.
  public var content: String

  /// Makes a message.
  public init(role: String, content: String) {
    self.role = role
    self.content = content
  }

  /// As templates see it.
  public var json: JSON { ["role": .string(role), "content": .string(content)] }
}

/// The template that makes of a conversation the text a model was trained on.
///
/// It is Jinja, as transformers sets it up: `trim_blocks`, `lstrip_blocks`, an immutable sandbox, `tojson`
/// without HTML escapes, loop controls and the tag `generation`.
public struct ChatTemplate: Sendable {
  /// Where it comes from.
  public let path: String
  private let statements: [TemplateStatement]

  /// Parses a template.
  ///
  /// - Throws: `TemplateError` with the line, for what is no template or uses what is not supported.
  public init(source: String, path: String) throws(TemplateError) {
    guard source.utf8.count <= TemplateLimits.sourceBytes else {
      throw TemplateError(.limit, path: path, expected: "\(TemplateLimits.sourceBytes >> 20) MiB of source")
    }
    self.path = path
    statements = try TemplateParser.parse(source, path: path)
  }

  /// Renders a conversation.
  ///
  /// - Parameters:
  ///   - messages: objects, as a rule with `role` and `content`.
  ///   - addingGenerationPrompt: whether the text ends where the model's answer begins.
  ///   - variables: more of them, such as `tools` and the special tokens; a later one wins.
  ///   - now: what `strftime_now` writes.
  /// - Throws: `TemplateError`, with `refused` where the template itself refuses the conversation.
  public func render(
    messages: [JSON], addingGenerationPrompt: Bool, variables: [(String, JSON)] = [],
    now: TemplateDate = .now
  ) throws(TemplateError) -> String {
    try run(
      messages: messages, addingGenerationPrompt: addingGenerationPrompt, variables: variables, now: now
    ).output
  }

  /// Renders a conversation; the interpreter afterwards.
  func run(
    messages: [JSON], addingGenerationPrompt: Bool, variables: [(String, JSON)], now: TemplateDate
  ) throws(TemplateError) -> TemplateInterpreter {
    let interpreter = TemplateInterpreter(path: path, date: now)
    let standard: [(String, JSON)] = [
      ("messages", .array(messages)), ("tools", .null), ("documents", .null),
      ("add_generation_prompt", .bool(addingGenerationPrompt)),
    ]
    for (name, json) in standard + variables {
      guard let value = TemplateValue(json) else {
        throw TemplateError(
          .invalidValue, path: path, name: name, expected: "of numbers that fit in 64 bits",
          found: "of larger ones")
      }
      guard value.depth <= TemplateParser.maximumDepth else {
        throw TemplateError(.limit, path: path, expected: "\(TemplateParser.maximumDepth) levels of nesting")
      }
      interpreter.scope.set(name, value)
    }
    _ = try interpreter.run(statements)
    return interpreter
  }

  /// Renders a conversation of plain messages.
  ///
  /// - Throws: `TemplateError`, with `refused` where the template itself refuses the conversation.
  public func render(
    _ messages: [ChatMessage], addingGenerationPrompt: Bool, variables: [(String, JSON)] = [],
    now: TemplateDate = .now
  ) throws(TemplateError) -> String {
    try render(
      messages: messages.map(\.json), addingGenerationPrompt: addingGenerationPrompt, variables: variables,
      now: now)
  }
}
