import Foundation
import LMoECore
import Testing

@testable import LMoEExperts

/// Patterns over module names mean what they mean to Python: `fixtures/patterns.json` has its answers.
@Suite struct ModulePatternTests {
  static func reference() throws -> JSON {
    try JSON(parsing: [UInt8](try Data(contentsOf: URL(filePath: Scratch.fixtures + "/patterns.json"))))
  }

  /// A digit for each name, as the reference has it; nil if the pattern is refused.
  private func answers(_ names: [String], _ make: () throws(PatternError) -> ModulePattern) -> String? {
    guard let pattern = try? make() else { return nil }
    // The short way for plain keys says the same.
    for name in names { #expect(pattern.matches(name) == pattern.matchesByProgram(name), "\(name)") }
    return String(names.map { pattern.matches($0) ? "1" : "0" })
  }

  @Test func `python's answers`() throws {
    var count = 0
    for set in try #require(Self.reference()["sets"]?.array) {
      let names = try #require(set["names"]?.array).compactMap(\.string)
      for test in try #require(set["cases"]?.array) {
        let test = try #require(test.array)
        let pattern = try #require(test[0].string)
        let whole = answers(names) { () throws(PatternError) in try ModulePattern(pattern) }
        #expect(whole == test[1].string, "\(pattern.debugDescription) of \(names)")
        let suffix = answers(names) { () throws(PatternError) in try ModulePattern(suffixKey: pattern) }
        #expect(suffix == test[2].string, "\(pattern.debugDescription) as a key of \(names)")
        count += (whole?.utf8.count ?? 1) + (suffix?.utf8.count ?? 1)
      }
    }
    #expect(count > 60_000)
  }

  @Test func `what python takes and this refuses, by name`() throws {
    let cases = try #require(Self.reference()["unsupported"]?.array)
    #expect(cases.count > 20)
    for test in cases.compactMap(\.array) {
      let pattern = try #require(test[0].string)
      let whole = #expect(throws: PatternError.self) { _ = try ModulePattern(pattern) }
      #expect(whole?.what == test[1].string, "\(pattern)")
      // Python refuses flags that are not at the start.
      let suffix = #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: pattern) }
      #expect(suffix == whole, "\(pattern)")
    }
  }

  @Test(arguments: ["digit", "word", "space"]) func `every assigned scalar`(category: String) throws {
    let categories = try #require(Self.reference()["categories"])
    func flags(_ name: String) throws -> [Bool] {
      let runs = try #require(categories[name]?.array).compactMap(\.int)
      return runs.enumerated().flatMap { Array(repeating: $0.offset % 2 == 1, count: $0.element) }
    }
    let expected = try flags(category)
    // What a later Unicode has added is not compared.
    let unassigned = try flags("unassigned")
    try #require(expected.count == 0x110000 && unassigned.count == 0x110000)
    for value in 0..<UInt32(0x110000) where !unassigned[Int(value)] {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let isMember =
        switch category {
        case "digit": ScalarClass.isDigit(scalar)
        case "word": ScalarClass.isWord(scalar)
        default: ScalarClass.isSpace(scalar)
        }
      if isMember != expected[Int(value)] { Issue.record("U+\(String(value, radix: 16)): \(isMember)") }
    }
  }

  @Test func `keys of rank_pattern`() throws {
    let name = "model.layers.0.self_attn.q_proj"
    for key in [
      "q_proj", "self_attn.q_proj", "layers.0.self_attn.q_proj", "^\(name)", "[qk]_proj", #"0\..*"#,
    ] {
      #expect(try ModulePattern(suffixKey: key).matches(name), "\(key)")
    }
    for key in ["proj", "attn.q_proj", "^q_proj", "self_attn", "k_proj", "Q_proj", #"\d"#, "layers.0"] {
      #expect(try !ModulePattern(suffixKey: key).matches(name), "\(key)")
    }
  }

  @Test func `a string of target_modules`() throws {
    let pattern = try ModulePattern(#"model\.layers\.\d+\.(self_attn\.(q|v)_proj|mlp\..*)"#)
    #expect(pattern.matches("model.layers.0.self_attn.q_proj"))
    #expect(pattern.matches("model.layers.31.mlp.down_proj"))
    #expect(!pattern.matches("model.layers.0.self_attn.k_proj"))
    #expect(!pattern.matches("base.model.layers.0.self_attn.q_proj"))
    #expect(!pattern.matches("model.layers.0.self_attn.q_proj.lora_A"))
  }

  @Test func `scalars are compared, not characters`() throws {
    #expect(try ModulePattern("\u{E9}").matches("\u{E9}"))
    #expect(try !ModulePattern("\u{E9}").matches("e\u{301}"))
    #expect(try ModulePattern("..").matches("e\u{301}"))
    #expect(try ModulePattern("..").matches("\r\n") == false)
    #expect(try ModulePattern(#".\n"#).matches("\r\n"))
    // Names of groups too.
    _ = try ModulePattern("(?P<\u{E9}>a)(?P<e\u{301}>b)")
  }

  /// What is said of a pattern that is refused, and where it is.
  static let refused: [(pattern: String, what: String, position: Int)] = [
    ("ab(?=c)", "a lookahead", 2), ("ab(?<!c)", "a lookbehind", 2), (#"(a)\1"#, "a back reference", 3),
    ("(?P<n>a)(?P=n)", "a back reference", 8), ("(a)(?(1)b)", "a conditional group", 3),
    ("(?>a)", "an atomic group", 0), ("ab*+", "a possessive repeat", 2), ("(?i)a", "an inline flag", 0),
    ("(?'n'a)", "an unknown kind of group", 0), (#"a\N{DASH}"#, "a character by its name", 1),
    (#"a\q"#, #"an unknown escape \q"#, 1), (#"[\Z]"#, #"an unknown escape \Z"#, 1),
    (#"é\x4g"#, "an escape that is no character", 1), (#"\400"#, "an escape that is no character", 0),
    (#"a\"#, "a backslash at its end", 1), ("a|*", "a repeat of nothing", 2),
    ("^*", "a repeat of nothing", 1),
    ("a**", "a repeat of a repeat", 2), ("a{2,1}", "a repeat with a maximum below its minimum", 1),
    ("a(b", "a group that is not closed", 1), ("a)b", "a parenthesis that closes nothing", 1),
    ("a(?", "a group that is not closed", 1), ("a(?#b", "a comment that is not closed", 1),
    ("a[b", "a class that is not closed", 1), ("a[b-", "a class that is not closed", 1),
    ("[az-a]", "a bad range in a class", 2), (#"[\d-a]"#, "a bad range in a class", 1),
    ("(?P<1>a)", "a group name that is not an identifier", 4),
    ("(?P<n", "a group name that is not an identifier", 0), ("(?P<n>a)(?P<n>a)", "two groups of one name", 8),
    ("ba{20000}", "more than 20000 steps with its repeats written out", 2),
    ("ba{4294967296}", "more than 20000 steps with its repeats written out", 2),
  ]

  @Test func refusals() throws {
    for (pattern, what, position) in Self.refused {
      let error = #expect(throws: PatternError.self, "\(pattern)") { _ = try ModulePattern(pattern) }
      #expect(error == PatternError(what: what, position: position), "\(pattern)")
    }
    // Positions are those in the key, and those outside are at its ends.
    let inside = #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: "ab(?=c)") }
    #expect(inside == PatternError(what: "a lookahead", position: 2))
    let open = #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: "a[b") }
    #expect(open == PatternError(what: "a class that is not closed", position: 1))
    let before = #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: "a(b") }
    #expect(before == PatternError(what: "a group that is not closed", position: 0))
    let after = #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: "a)") }
    #expect(after == PatternError(what: "a parenthesis that closes nothing", position: 2))
    // The groups that PEFT adds can be referred to, to no avail.
    let reference = #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: #"a\1"#) }
    #expect(reference == PatternError(what: "a back reference", position: 1))
  }
}

/// Patterns that are meant to take time, memory or the stack.
@Suite(.timeLimit(.minutes(1))) struct HostilePatternTests {
  @Test(arguments: [
    ("(a+)+$", true, false), ("(a|a)*b", false, true), ("(.*)*x", false, false), ("(a*)*b", false, true),
    ("(a|aa)+$", true, false), ("(.*a){20}", true, false), (".*.*.*.*=.*", false, false),
    ("(((a*)*)*)*", true, false), ("(?:a?b??)*", true, true), (#"(\b|a)*b"#, false, true),
    ("(?:a{0,9}){0,99}b", false, false), ("([a-z]+)*[0-9]", false, false),
  ])
  func `a backtracker's nightmares, over a long name`(pattern: String, all: Bool, last: Bool) throws {
    let name = String(repeating: "a", count: 10_000)
    let whole = try ModulePattern(pattern)
    #expect(whole.matches(name) == all)
    #expect(whole.matches(name + "b") == last)
    #expect(try ModulePattern(suffixKey: pattern).matches("model." + name) == all)
  }

  @Test func `optional parts as often as can be`() throws {
    let pattern = try ModulePattern("(?:a?){9999}a{1}")
    #expect(pattern.size == 20_000)
    for (count, matches) in [(0, false), (1, true), (200, true)] {
      #expect(pattern.matches(String(repeating: "a", count: count)) == matches)
    }
    #expect(!pattern.matches("aab"))
  }

  @Test(arguments: [
    "a{20000}", "(a{1000}){1000}", "(((a{100}){100}){100}){100}", "a{4294967294}", "a{,4294967294}",
    "(a{4294967294}){4294967294}", "(?:a{2}){10000}", "(?:a|b){7000}", "(?:a?){10000}", "(?:a*){6667}",
    "(?:a{0,141}){0,141}", "((((((a{9}){9}){9}){9}){9}){9}){9}", "(?:){4294967295}",
    "a{9999999999999999999999}",
    "a{10000}a{10000}", "(?:a{10000}|a{10000})", "a{1,20000}", "a{20000,}",
  ])
  func `too many steps are refused before they are made`(pattern: String) {
    let error = #expect(throws: PatternError.self) { _ = try ModulePattern(pattern) }
    #expect(error?.what == "more than 20000 steps with its repeats written out")
    #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: pattern) }
  }

  @Test func `the largest programs`() throws {
    for (pattern, size) in [
      ("a{19999}", 20_000), ("(?:a{99}b{99}){101}", 19_999), ("(?:a?){9999}", 19_999),
      ("(?:ab){9999,}", 20_000),
      ("(?:a|b){4999}", 19_997), ("", 1), ("(?:){4294967294}", 1), ("(?:a{0}){4294967294}", 1),
      ("((a{0}){4294967294}()){4294967294}", 1), (String(repeating: "()", count: 2000) + "{4294967294}", 1),
      ("(?:" + String(repeating: "()", count: 2000) + "a){19999}", 20_000),
    ] {
      #expect(try ModulePattern(pattern).size == size, "\(pattern.prefix(40))")
    }
    #expect(try ModulePattern("a{19999}").matches(String(repeating: "a", count: 19_999)))
    #expect(try !ModulePattern("a{19999}").matches(String(repeating: "a", count: 19_998)))
  }

  @Test func `long patterns`() throws {
    for letter in ["a", "é", "\u{1F600}", "e\u{301}"] {
      let count = 4096 / letter.unicodeScalars.count
      let text = String(repeating: letter, count: count)
      #expect(try ModulePattern(text).matches(text))
      #expect(try ModulePattern(suffixKey: text).matches("model." + text))
      for error in [
        #expect(throws: PatternError.self) { _ = try ModulePattern(text + "a") },
        #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: text + "a") },
      ] {
        #expect(error == PatternError(what: "more than 4096 characters", position: 4096))
      }
    }
    // A class is asked thousands of times a scalar: it must not be gone through.
    let odd = (0..<2000).compactMap { Unicode.Scalar(0x4E00 + 2 * UInt32($0)) }.map(String.init).joined()
    let pattern = try ModulePattern("(?:[\(odd)]?){9000}")
    #expect(pattern.matches(String(odd.prefix(100))))
    #expect(!pattern.matches(String(odd.prefix(100)) + "\u{4E01}"))
  }

  @Test func `deep patterns`() throws {
    func nested(_ depth: Int, _ open: String = "(", _ close: String = ")") -> String {
      String(repeating: open, count: depth) + "a" + String(repeating: close, count: depth)
    }
    for (open, close) in [("(", ")"), ("(?:", ")"), ("(?:|", ")*"), ("(a|", ")+?"), ("(?:^", ")?")] {
      #expect(try ModulePattern(nested(100, open, close)).matches("a"))
      let error = #expect(throws: PatternError.self) { _ = try ModulePattern(nested(101, open, close)) }
      #expect(error?.what == "groups more than 100 deep")
    }
    // PEFT puts a key into a group.
    #expect(try ModulePattern(suffixKey: nested(99)).matches("b.a"))
    #expect(throws: PatternError.self) { _ = try ModulePattern(suffixKey: nested(100)) }
    for text in ["(", "[", "(?:", "((a)*", #"\"#, "a*", "(?P<a>", "(|", "{", "(?#", "[^", "a|"] {
      let pattern = String(repeating: text, count: 4096 / text.utf8.count)
      // Whether it is taken or not, it ends.
      if let pattern = try? ModulePattern(pattern) { _ = pattern.matches("a") }
    }
  }
}
