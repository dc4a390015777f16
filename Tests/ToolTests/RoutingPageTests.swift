import LMoECore
import Testing

@testable import lmoe_tool

/// The page that shows the routing of a text.
@Suite struct RoutingPageTests {
  private static func page(_ trace: RoutingTrace) -> String { RoutingPage(trace).html() }

  /// The text between two marks.
  private static func part(of page: String, from start: String, to end: String) throws -> String {
    let bytes = Array(page.utf8)
    let first = try #require(bytes.firstRange(of: Array(start.utf8)))
    let rest = bytes[first.upperBound...]
    let last = try #require(rest.firstRange(of: Array(end.utf8)))
    return String(decoding: rest[..<last.lowerBound], as: UTF8.self)
  }

  private static func data(of page: String) throws -> JSON {
    try JSON(parsing: Array(try part(of: page, from: "id=\"data\">", to: "</script>").utf8))
  }

  /// What a reader sees of some HTML: its bytes without tags, entities resolved.
  private static func visible(_ html: String) -> [UInt8] {
    // Characters would not do: an accent at the start of a token joins the tag's last one.
    var bytes: [UInt8] = []
    var isTag = false
    for byte in html.utf8 {
      if byte == UInt8(ascii: "<") { isTag = true }
      if !isTag { bytes.append(byte) }
      if byte == UInt8(ascii: ">") { isTag = false }
    }
    for (entity, character) in [("lt", "<"), ("gt", ">"), ("quot", "\""), ("#39", "'"), ("amp", "&")] {
      bytes.replace(Array("&\(entity);".utf8), with: Array(character.utf8))
    }
    return bytes
  }

  @Test func `a small page`() throws {
    // The style and the script are looked at in a browser.
    let page = Self.page(RoutingFixture.trace())
      .replacing(RoutingPage.style, with: "…\n").replacing(RoutingPage.script, with: "…\n")
    #expect(page.utf8.count < 8000)
    try RoutingFixture.expectSnapshot("routing-page.html", page)
  }

  @Test func `the same trace gives the same page`() {
    #expect(Self.page(RoutingFixture.trace()) == Self.page(RoutingFixture.trace()))
  }

  @Test func `the text of tokens is text, not markup`() throws {
    let trace = RoutingFixture.trace()
    let html = try Self.part(of: Self.page(trace), from: "<div id=\"tokens\">", to: "</div>")
    let expected = trace.tokens.map { token in
      String(decoding: token.text, as: UTF8.self).unicodeScalars.map { scalar in
        let character = String(scalar)
        return character == "\n" || character == "\t" ? character : character.printable
      }.joined()
    }.joined()
    #expect(Self.visible(html) == Array(expected.utf8))
    #expect(html.components(of: "<span") == trace.tokens.count)
  }

  static let hostile = [
    "<script>alert(1)</script>", "</script>", "<!--<script>", "\"'><img src=x onerror=alert(1)>", "</style>",
    "&lt;", "\u{2028}\u{2029}", "\u{0}\u{1B}[31m", "\u{202E}", "]]>", "\\u003c", "javascript:",
  ]

  @Test(arguments: hostile) func `hostile texts everywhere`(text: String) throws {
    let plain = RoutingTrace(
      title: "t", model: "m", selection: "s", columns: ["c", ""], places: ["p"],
      tokens: [.init(text: [0x78], isPrompt: true, weights: [[1, 0]])])
    let trace = RoutingTrace(
      title: text, model: text, selection: text, columns: [text, ""],
      places: [text, "model.layers.0." + text],
      tokens: [.init(text: Array(text.utf8), isPrompt: true, weights: [[1, 0], [0.5, 0.5]])])
    let page = Self.page(trace)
    for mark in ["<script", "</script", "<style", "</style", "<img", "<!--", "onerror=alert"] {
      let count = page.components(of: mark)
      // What is escaped still has the words of an attribute, but not its tag.
      if mark.hasPrefix("<") { #expect(count == Self.page(plain).components(of: mark), "\(mark)") }
    }
    for scalar in page.unicodeScalars where scalar.value < 0x20 && scalar != "\n" {
      Issue.record("\(scalar.value)")
    }
    #expect(!page.unicodeScalars.contains { [0x2028, 0x2029, 0x202E].contains($0.value) })
    let data = try Self.part(of: page, from: "id=\"data\">", to: "</script>")
    #expect(!data.utf8.contains { [UInt8](#"<>&"#.utf8).contains($0) })
    #expect(try Self.data(of: page)["names"]?.array?.first?.string == text.printable)
  }

  @Test func `it needs nothing from elsewhere`() {
    let page = Self.page(RoutingFixture.trace())
    for word in ["http:", "https:", "src=", "url(", "@import", "<link", "fetch("] {
      #expect(!page.contains(word), "\(word)")
    }
  }

  // MARK: Weights

  private static func decoded(_ text: String) -> [Int] {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    let digits = text.utf8.map { alphabet.firstIndex(of: $0) ?? -1 }
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] * 64 + digits[$0 + 1] }
  }

  @Test func `weights come back to three digits`() throws {
    let trace = RoutingFixture.trace()
    let data = try Self.data(of: Self.page(trace))
    let tokens = try #require(data["tokens"]?.array)
    let largest = try #require(data["largest"]?.double)
    #expect(largest == 1 && tokens.count == trace.tokens.count)
    for (token, json) in zip(trace.tokens, tokens) {
      let codes = Self.decoded(try #require(json.string ?? json.int.flatMap { tokens[$0].string }))
      if token.weights.isEmpty {
        #expect(codes.isEmpty)
        continue
      }
      try #require(codes.count == trace.places.count * trace.columns.count)
      for (place, row) in token.weights.enumerated() {
        for column in trace.columns.indices {
          let code = codes[place * trace.columns.count + column]
          if row.isEmpty {
            #expect(code == 4095)
          } else {
            #expect(abs(Double(code - 2047) / 2047 * largest - Double(row[column])) < 0.0003)
          }
        }
      }
    }
  }

  @Test func `weights that are not finite are left out`() throws {
    let trace = RoutingTrace(
      title: "", model: "", selection: "", columns: ["a", "b"], places: ["global"],
      tokens: [
        .init(text: [0x61], isPrompt: true, weights: [[.nan, -3]]),
        .init(text: [0x62], isPrompt: false, weights: [[.infinity, 3]]),
        .init(text: [0x63], isPrompt: false, weights: [[-.infinity]]),
      ])
    let data = try Self.data(of: Self.page(trace))
    #expect(data["largest"]?.double == 3 && data["full"]?.double == 3)
    let codes = try #require(data["tokens"]?.array).map { Self.decoded($0.string ?? "") }
    #expect(codes == [[4095, 0], [4095, 4094], [4095, 4095]])
  }

  @Test func `equal tokens are written once, and a page stays small`() throws {
    let places = (0..<30).flatMap { layer in (0..<7).map { "model.layers.\(layer).m\($0)" } }
    func trace(_ weight: (Int, Int) -> Float) -> RoutingTrace {
      RoutingTrace(
        title: "", model: "", selection: "", columns: ["a", "b", "c", ""], places: places,
        tokens: (0..<100).map { token in
          .init(
            text: Array(" word".utf8), isPrompt: false,
            weights: places.indices.map { place in (0..<4).map { _ in weight(token, place) } })
        })
    }
    let different = Self.page(trace { Float($0 * 210 + $1) / 21000 })
    #expect(different.utf8.count < 100 * 210 * 4 * 2 + 100 * 60 + 80_000)
    let equal = Self.page(trace { _, place in Float(place) / 210 })
    #expect(equal.utf8.count < 80_000)
    #expect(try Self.data(of: equal)["tokens"]?.array?.dropFirst().allSatisfy { $0.int == 0 } == true)
  }

  @Test func `a text without gates, and no text at all`() {
    for tokens: [RoutingTrace.Token] in [[], [.init(text: [0x61], isPrompt: true, weights: [])]] {
      let page = Self.page(
        RoutingTrace(
          title: "t", model: "m", selection: "base", columns: [], places: [], tokens: tokens))
      #expect(page.contains("No gate decided anything") && !page.contains("<aside"))
    }
  }
}

extension String {
  /// How often `part` stands in the text.
  fileprivate func components(of part: String) -> Int {
    var count = 0
    var rest = Array(utf8)[...]
    while let range = rest.firstRange(of: Array(part.utf8)) {
      count += 1
      rest = rest[range.upperBound...]
    }
    return count
  }
}
