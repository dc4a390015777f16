import Foundation
import LMoECore
import LMoERuntime
import Testing

/// What is in `fixtures/chat`, rendered by transformers.
enum ChatFixture {
  static let directory = RuntimeFixture.path("chat")
  static let names = [
    "bracketed", "chatml", "chatml-lines", "control", "generation", "headers", "nested", "scopes", "thinking",
    "tools-last", "zephyrlike",
  ]
  static let now = TemplateDate(secondsSince1970: 1_722_000_000)

  static func json(_ name: String) throws -> JSON {
    try JSON(parsing: [UInt8](try Data(contentsOf: URL(filePath: "\(directory)/\(name)"))))
  }

  static func source(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(filePath: "\(directory)/\(name).jinja")), as: UTF8.self)
  }

  static func template(_ name: String) throws -> ChatTemplate {
    try ChatTemplate(source: try source(name), path: "\(name).jinja")
  }

  static func variables(_ json: JSON?) -> [(String, JSON)] {
    (json?.object?.members ?? []).map { ($0.key, $0.value) }
  }

  /// What an expression makes, or a whole template.
  static func render(_ source: String, _ variables: [(String, JSON)] = []) throws(TemplateError) -> String {
    try ChatTemplate(source: source, path: "test.jinja")
      .render(messages: [], addingGenerationPrompt: false, variables: variables, now: now)
  }

  static func error(_ source: String, _ variables: [(String, JSON)] = []) -> TemplateError? {
    do throws(TemplateError) {
      _ = try render(source, variables)
      return nil
    } catch { return error }
  }
}

/// Byte for byte what transformers renders.
@Suite struct ChatTemplateFixtureTests {
  @Test(arguments: ChatFixture.names) func `conversations become the library's text`(name: String) throws {
    let template = try ChatFixture.template(name)
    let cases = try #require(try ChatFixture.json("cases.json")["cases"]?.array)
    try #require(cases.count > 50)
    var rendered = 0
    for element in cases {
      let what = "\(name), \(element["name"]?.string ?? "?")"
      let variables = ChatFixture.variables(element["variables"])
      let expected = try #require(element["outputs"]?[name], "\(what)")
      let found = try? template.render(
        messages: try #require(element["messages"]?.array),
        addingGenerationPrompt: element["variables"]?["add_generation_prompt"]?.bool ?? false,
        variables: variables, now: ChatFixture.now)
      #expect((found == nil) == expected.isNull, "\(what)")
      if let text = expected.string {
        rendered += 1
        #expect(found?.hasSameBytes(as: text) == true, "\(what): \(found.debugDescription)")
      }
    }
    #expect(rendered > 30)
  }

  @Test func `expressions have the library's values`() throws {
    let document = try ChatFixture.json("expressions.json")
    let variables = ChatFixture.variables(document["variables"])
    let results = try #require(document["results"]?.array)
    try #require(results.count > 450)
    for pair in results {
      let expression = try #require(pair.array?.first?.string)
      let expected = try #require(pair.array?.last)
      let found = try? ChatFixture.render("{{ " + expression + " }}", variables)
      let same = found.map { text in expected.string?.hasSameBytes(as: text) ?? false } ?? expected.isNull
      #expect(same, "\(expression): \(found.debugDescription), not \(expected.serialized())")
    }
  }

  @Test func `plain messages are messages`() throws {
    let messages = [ChatMessage(role: "user", content: "hi"), ChatMessage(role: "assistant", content: "ho")]
    let text = try ChatFixture.template("chatml").render(messages, addingGenerationPrompt: true)
    #expect(
      text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n<|im_start|>assistant\n")
  }

  @Test func `line breaks of every kind are the same`() throws {
    #expect(try ChatFixture.render("a\r\n{% if true %}\r\nb\r{% endif %}\r\nc\r\n") == "a\nb\nc")
  }

  @Test(arguments: [
    (0, "Thu 01 Jan 1970 00:00:00 001 4 AM 12"), (951_782_399, "Mon 28 Feb 2000 23:59:59 059 1 PM 11"),
    (951_868_799, "Tue 29 Feb 2000 23:59:59 060 2 PM 11"),
    (1_735_689_599, "Tue 31 Dec 2024 23:59:59 366 2 PM 11"),
    (-1, "Wed 31 Dec 1969 23:59:59 365 3 PM 11"), (4_107_542_400, "Mon 01 Mar 2100 00:00:00 060 1 AM 12"),
  ]) func `dates are those of the calendar`(seconds: Int, text: String) throws {
    let template = try ChatTemplate(source: "{{ strftime_now('%a %d %b %Y %T %j %w %p %I') }}", path: "t")
    let date = TemplateDate(secondsSince1970: seconds)
    #expect(try template.render(messages: [], addingGenerationPrompt: false, now: date) == text)
  }

  @Test(arguments: ["tiny-llama", "embedded/base"]) func `a bundle has its template`(base: String) throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(base: base)
    let template = try ChatTemplate(bundle: bundle)
    let tokens = try ChatTemplate.specialTokens(of: bundle)
    let text = try template.render(
      [ChatMessage(role: "user", content: "hi")], addingGenerationPrompt: true, variables: tokens)
    #expect(text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    #expect(tokens.contains { $0.0 == "eos_token" && $0.1.string?.isEmpty == false })
    let error = #expect(throws: TemplateError.self) { try ChatTemplate(bundle: bundle, named: "tool_use") }
    #expect(error?.code == .noNamedTemplate)
  }

  @Test func `a bundle without a template says so`() throws {
    let fixture = try RuntimeFixture()
    let bundle = try fixture.bundle(base: "families/llama")
    let error = #expect(throws: TemplateError.self) { try ChatTemplate(bundle: bundle) }
    #expect(error?.code == .noTemplate)
    #expect(
      error?.description == "\(bundle.path) has no chat template; save the tokenizer of a chat model with "
        + "save_pretrained and import again, or use plain text")
  }
}
