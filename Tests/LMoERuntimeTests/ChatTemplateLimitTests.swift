import LMoECore
import LMoERuntime
import Testing

/// Templates are programs of strangers.
@Suite struct ChatTemplateLimitTests {
  @Test(arguments: [
    ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "1000000 steps"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "400 levels of nesting"),
    ("{{ 'x' * 99999999 }}", "16 MiB of text"), ("{{ 'x' * 9223372036854775807 }}", "16 MiB of text"),
    ("{% set x = 'x' * 9999999 %}{{ x }}{{ x }}", "16 MiB of text"),
    ("{% set x = 'x' * 9999999 %}{{ x ~ x }}", "16 MiB of text"),
    ("{% set x = 'x' * 999999 %}{{ x | replace('x', 'yyyyyyyyyyyyyyyyyyyy') }}", "16 MiB of text"),
    ("{% set n = namespace(x=[]) %}{% for i in range(300) %}{% set n.x = [n.x] %}{% endfor %}", "200 levels"),
    (
      "{% set n = namespace(x=(1,)) %}{% for i in range(150) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ n.x }}",
      "16"
    ),
    (
      "{% set n = namespace(x=(1,)) %}{% for i in range(150) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ n.x == n.x }}",
      "steps"
    ),
    ("{{ [1] * 9223372036854775807 }}", "1000000 steps"), ("{{ range(9999999) }}", "100000 numbers"),
    ("{{ 'x' | indent(99999999) }}", "16 MiB of text"),
  ]) func `what has no end is stopped`(source: String, what: String) {
    let error = ChatFixture.error(source)
    #expect(error?.code == .limit, "\(source): \(error?.description ?? "no error")")
    #expect(error?.expected?.contains(what) == true, "\(source): \(error?.description ?? "no error")")
  }

  @Test(arguments: [
    ("(", ")"), ("[", "]"), ("{1:", "}"), ("not ", ""), ("-", ""), ("1+", ""), ("1 if 1 else ", ""),
    ("x(", ")"),
    ("1 ~ (", ")"), ("x[", "]"),
  ]) func `deep expressions are refused`(open: String, close: String) {
    let source = String(repeating: open, count: 50_000) + "1" + String(repeating: close, count: 50_000)
    #expect(ChatFixture.error("{{ " + source + " }}")?.code == .limit)
  }

  @Test func `long chains are refused`() {
    for link in ["|upper", ".a", "[0]", "()", "+1", " or 1", " if 1 else 1", " is odd"] {
      let source = "{{ 1" + String(repeating: link, count: 50_000) + " }}"
      let code = ChatFixture.error(source)?.code
      #expect(code == .limit || code == .syntax, "\(link)")
    }
    let blocks = String(repeating: "{% if 1 %}", count: 50_000)
    #expect(ChatFixture.error(blocks)?.code == .limit)
    #expect(ChatFixture.error(String(repeating: "x", count: 5 << 20))?.code == .limit)
  }

  @Test(arguments: [
    "9223372036854775807 + 1", "-9223372036854775807 - 2", "9223372036854775807 * 2", "3 ** 99999999999",
    "99999999999999999999", "(-9223372036854775807 - 1) // -1", "-(-9223372036854775807 - 1)",
    "(-9223372036854775807 - 1) | abs",
  ]) func `large numbers are refused`(expression: String) {
    #expect(ChatFixture.error("{{ \(expression) }}")?.code == .overflow, "\(expression)")
  }

  @Test func `extreme bounds are bounds`() throws {
    let least = "(-9223372036854775807 - 1)"
    let most = "9223372036854775807"
    for (expression, expected) in [
      ("'abc'[\(least):\(most)]", "abc"), ("'abc'[\(most):\(least):-1]", "cba"), ("'abc'[::\(most)]", "a"),
      ("'abc'[::\(least)]", "c"), ("'abc'[\(least)]", ""), ("[1][\(most)]", ""), ("[1][\(least)]", ""),
      ("range(0, \(most), \(most)) | list", "[0]"), ("1e300 | int", "0"), ("0 ** 0", "1"),
      ("range(\(most) - 1, \(most)) | list", "[9223372036854775806]"),
    ] { #expect(try ChatFixture.render("{{ \(expression) }}") == expected, "\(expression)") }
  }

  @Test func `numbers beyond 64 bits are refused in messages`() {
    let large = JSON.number(JSONNumber(text: "123456789012345678901234567890"))
    #expect(ChatFixture.error("", [("n", large)])?.code == .invalidValue)
  }

  @Test(arguments: [
    (
      "a\n{{ x.y }}",
      "test.jinja, line 2: \"x\" is undefined and cannot be asked for \"y\"; the template needs it"
    ),
    ("{{ 1 + }}", "test.jinja, line 1: the template has \"}}\" where an expression belongs"),
    (
      "{% if a %}\n",
      "test.jinja, line 1: the template has the end of the template where \"elif\" or \"else\" or \"endif\" belongs"
    ),
    (
      "{% include 'x' %}", "test.jinja, line 1: this tool does not know the tag \"include\" of chat templates"
    ),
    ("{{ 1 | nope }}", "test.jinja, line 1: this tool does not know the filter \"nope\" of chat templates"),
    (
      "\n\n{{ 1 is nope }}", "test.jinja, line 3: this tool does not know the test \"nope\" of chat templates"
    ),
    ("{{ 'a'.nope() }}", "test.jinja, line 1: str has no method or attribute \"nope\" that can be used"),
    (
      "{{ [].append(1) }}",
      "test.jinja, line 1: \"append\" would change a list, which chat templates may not; use a namespace"
    ),
    (
      "{{ 1 + 'a' }}", "test.jinja, line 1: \"+\" needs two values that go together and was given int and str"
    ),
    (
      "{{ range() }}",
      "test.jinja, line 1: \"range\" takes one to three whole numbers, and was called with nothing"
    ),
    ("{{ 1 // 0 }}", "test.jinja, line 1: \"//\" divides by zero"),
    ("{{ 9223372036854775807 + 1 }}", "test.jinja, line 1: \"+\" gives a number beyond 64 bits"),
    (
      "{{ raise_exception('roles\u{1b} must alternate') }}",
      "test.jinja, line 1: the template refuses the conversation: roles␛ must alternate"
    ),
    (
      "{{ 'x' * 99999999 }}",
      "test.jinja, line 1: the template needs more than 16 MiB of text, so it was stopped"
    ),
    ("{# open", "test.jinja, line 1: the template has an open comment where \"#}\" belongs"),
    ("{{ 'open }}", "test.jinja, line 1: the template has an open string where a quotation mark belongs"),
  ]) func `errors are sentences`(source: String, sentence: String) {
    #expect(ChatFixture.error(source)?.description == sentence)
  }

  @Test func `changed templates never trap`() throws {
    var generator = Mutations(seed: 7)
    let pieces = [
      "{{", "}}", "{%", "%}", "-", "'", "\"", "(", ")", "[", "]", "{", "}", "|", ".", ":", ",", "~", "**",
      "//",
      " if ", " else ", " not ", " in ", " is ", " set ", "endfor", "endif", "9223372036854775807", "-1", "é",
      "loop", "namespace", "[::-1]", "{#", "#}", "\n", "%", "messages", "raw", " for ", "\\", "\u{301}",
    ]
    let cases = try #require(try ChatFixture.json("cases.json")["cases"]?.array)
    let expressions = try #require(try ChatFixture.json("expressions.json")["results"]?.array)
    let variables = ChatFixture.variables(try ChatFixture.json("expressions.json")["variables"])
    var sources = try ChatFixture.names.map { try ChatFixture.source($0) }
    sources += expressions.compactMap { $0.array?.first?.string.map { "{{ \($0) }}" } }
    var outcomes = (parsed: 0, rendered: 0)
    for _ in 0..<4000 {
      var scalars = Array(sources[generator.below(sources.count)].unicodeScalars)
      for _ in 0..<1 + generator.below(3) {
        let place = generator.below(scalars.count + 1)
        let end = min(scalars.count, place + generator.below(4))
        switch generator.below(3) {
        case 0: scalars.removeSubrange(place..<end)
        case 1: scalars.insert(contentsOf: pieces[generator.below(pieces.count)].unicodeScalars, at: place)
        default:
          scalars.replaceSubrange(place..<end, with: pieces[generator.below(pieces.count)].unicodeScalars)
        }
      }
      let source = String(String.UnicodeScalarView(scalars))
      guard let template = try? ChatTemplate(source: source, path: "t") else { continue }
      outcomes.parsed += 1
      let messages = cases[generator.below(cases.count)]["messages"]?.array ?? []
      if (try? template.render(messages: messages, addingGenerationPrompt: true, variables: variables)) != nil
      {
        outcomes.rendered += 1
      }
    }
    // Enough of them get as far as being run.
    #expect(outcomes.parsed > 800 && outcomes.rendered > 400, "\(outcomes)")
  }
}

/// A small generator, the same everywhere.
private struct Mutations {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func below(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(max(1, bound)))
  }
}
