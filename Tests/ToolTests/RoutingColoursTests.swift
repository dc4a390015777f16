import Testing

@testable import lmoe_tool

/// A text in a terminal, token by token.
@Suite struct RoutingColoursTests {
  private static func shown(_ trace: RoutingTrace, isColoured: Bool) -> String {
    var colours = RoutingColours(columns: trace.columns, isColoured: isColoured)
    var text = colours.heading.map { $0 + "\n" } ?? ""
    for token in trace.tokens {
      text += colours.token(token.text, isPrompt: token.isPrompt, weights: token.weights)
    }
    return text + colours.end() + "\n" + colours.legend(width: 80).joined(separator: "\n") + "\n"
  }

  @Test func `with colours`() throws {
    // Escape sequences as pictures, for people who read the file.
    let text = Self.shown(RoutingFixture.trace(), isColoured: true)
    try RoutingFixture.expectSnapshot(
      "routing-colours.txt", text.replacing("\u{1B}", with: "␛"))
  }

  @Test func `without colours`() throws {
    let text = Self.shown(RoutingFixture.trace(), isColoured: false)
    #expect(!text.unicodeScalars.contains("\u{1B}"))
    try RoutingFixture.expectSnapshot("routing-plain.txt", text)
  }

  @Test func `only its own styles reach the terminal`() {
    var colours = RoutingColours(columns: ["\u{1B}[2J", ""], isColoured: true)
    var text = ""
    for byte in UInt8.min...UInt8.max {
      text += colours.token([byte, 0x5B, 0x41], isPrompt: false, weights: [[Float(byte) / 255, 0.5]])
    }
    text += colours.token([0xC2], isPrompt: false, weights: []) + colours.end()
    text += colours.legend(width: 80).joined()
    let rest = text.replacing(#/\u{1B}\[[0-9;]+m/#, with: "")
    let controls = rest.unicodeScalars.filter { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }
    #expect(controls.allSatisfy { $0 == "\n" || $0 == "\t" } && controls.count == 2)
  }

  @Test func `colours come again underlined`() {
    let columns = (0..<9).map { "e\($0)" } + [""]
    let colours = RoutingColours(columns: columns, isColoured: true)
    #expect(colours.codes(ofColumn: 0) == [38, 5, 33])
    #expect(colours.codes(ofColumn: 8) == [38, 5, 33, 4])
    #expect(colours.codes(ofColumn: 9) == [] && colours.codes(ofColumn: 10) == [])
    #expect(Set((0..<9).map { colours.codes(ofColumn: $0) }).count == 9)
    var used = RoutingColours(columns: columns, isColoured: true)
    _ = used.token([0x61], isPrompt: false, weights: [[Float](repeating: 0.1, count: 10)])
    #expect(used.legend(width: 80).last?.contains("underlined") == true)
  }

  @Test func `the null expert does not take a colour`() {
    let colours = RoutingColours(columns: ["", "a"], isColoured: true)
    #expect(colours.codes(ofColumn: 0) == [] && colours.codes(ofColumn: 1) == [38, 5, 33])
  }

  @Test func `lines of the legend fit`() {
    let name = String(repeating: "long", count: 30)
    for isColoured in [true, false] {
      var colours = RoutingColours(columns: [name, "日本語日本語日本語日本語日本語日本語"], isColoured: isColoured)
      _ = colours.token([0x61], isPrompt: false, weights: [[-1, 0.5]])
      for line in colours.legend(width: 80) {
        #expect(line.replacing(#/\u{1B}\[[0-9;]+m/#, with: "").displayWidth <= 80, "\(line)")
      }
    }
  }

  @Test func `nothing to show`() {
    #expect(RoutingColours(columns: [], isColoured: false).legend(width: 80).count == 1)
    #expect(RoutingColours(columns: ["a"], isColoured: true).legend(width: 80).count == 1)
    var colours = RoutingColours(columns: [], isColoured: true)
    #expect(colours.token(Array("x".utf8), isPrompt: false, weights: [[]]) == "x")
  }
}
