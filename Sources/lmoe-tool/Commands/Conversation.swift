import LMoECore
import LMoEFormat
import LMoERuntime

/// A message to a model, in the form of its chat template.
struct Conversation {
  private let template: ChatTemplate
  private let variables: [(String, JSON)]
  private let system: String?

  /// Takes the template of a bundle's base.
  ///
  /// - Throws: `TemplateError`, with `no-template` for a base that came without one; `FormatError`.
  init(_ bundle: Bundle, template: String?, system: String?) throws {
    self.template = try ChatTemplate(bundle: bundle, named: template)
    variables = try ChatTemplate.specialTokens(of: bundle)
    self.system = system
  }

  /// The text up to where the model answers.
  func text(for message: [UInt8]) throws -> String {
    var messages: [JSON] = []
    if let system { messages.append(["role": "system", "content": .string(system)]) }
    messages.append(["role": "user", "content": .string(String(decoding: message, as: UTF8.self))])
    return try template.render(messages: messages, addingGenerationPrompt: true, variables: variables)
  }
}
