public import LMoECore
public import LMoEFormat

/// How a model's conversations become text: its chat template and what that needs, or why there is none.
///
/// That there is none is an error only for whoever has a conversation.
public struct ChatForm: Sendable {
  private let form: Result<(template: ChatTemplate, variables: [(String, JSON)]), any Error>
  private let date: TemplateDate

  /// Takes a template.
  ///
  /// - Parameters:
  ///   - template: The template.
  ///   - variables: What it needs beside the messages, such as the special tokens.
  ///   - date: What it takes for today; the same date gives the same text.
  public init(_ template: ChatTemplate, variables: [(String, JSON)] = [], date: TemplateDate = .now) {
    form = .success((template, variables))
    self.date = date
  }

  /// Takes the template of a bundle's base.
  ///
  /// - Parameters:
  ///   - bundle: The bundle.
  ///   - name: The template to take of several; nil for the default one.
  ///   - date: What it takes for today; the same date gives the same text.
  public init(bundle: Bundle, named name: String? = nil, date: TemplateDate = .now) {
    self.date = date
    form = Result {
      (try ChatTemplate(bundle: bundle, named: name), try ChatTemplate.specialTokens(of: bundle))
    }
  }

  private init() {
    form = .failure(TemplateError(.noTemplate, path: "the model"))
    date = .now
  }

  /// That of a model without a template.
  public static let none = ChatForm()

  /// A conversation as text, and what the model has to say in it.
  ///
  /// - Throws: `TemplateError`, or why there is no template.
  func answers(in messages: [JSON], tools: JSON?) throws -> ChatTemplate.Answers {
    let (template, variables) = try form.get()
    return try template.answers(
      in: messages, variables: variables + (tools.map { [("tools", $0)] } ?? []), now: date)
  }
}
