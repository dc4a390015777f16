import Testing

@testable import lmoe_tool

/// What is made of the weights of tokens, and of their bytes.
@Suite struct RoutingTests {
  // MARK: Pieces

  private static func parts(_ pieces: [[UInt8]]) -> [[PieceText]] {
    var decoder = PieceDecoder()
    return pieces.map { decoder.next($0) } + [decoder.end()]
  }

  @Test func `a character comes with the token that completes it`() {
    let euro = Array("€".utf8)
    #expect(
      Self.parts([[0x61, euro[0]], [euro[1]], [euro[2], 0x62]]) == [
        [.text("a")], [], [.text("€b")], [],
      ])
    #expect(Self.parts([[euro[0]], [0x61]]) == [[], [.byte(euro[0]), .text("a")], []])
    #expect(Self.parts([[0x61, euro[0], euro[1]]]) == [[.text("a")], [.byte(euro[0]), .byte(euro[1])]])
  }

  static let invalid: [[UInt8]] = [
    [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x9F, 0xBF], [0xED, 0xA0, 0x80], [0xF0, 0x8F, 0xBF, 0xBF],
    [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80], [0x80], [0xFF],
  ]

  @Test(arguments: invalid) func `bytes that are no character stay bytes`(bytes: [UInt8]) {
    #expect(Self.parts([bytes]).flatMap(\.self) == bytes.map { .byte($0) })
  }

  @Test func `every split of a text gives the same text`() {
    let bytes = Array("aé\u{301}€𝄞\n\t\u{7F}\u{1B}日本".utf8) + [0xE6, 0x97, 0xFF] + Array("z".utf8)
    let whole = Self.parts([bytes]).flatMap(\.self).map(\.inline).joined()
    #expect(whole == "aé\u{301}€𝄞↵⇥␡␛日本\\xE6\\x97\\xFFz")
    for first in 0...bytes.count {
      for second in first...bytes.count {
        let pieces = [bytes[..<first], bytes[first..<second], bytes[second...]].map { Array($0) }
        #expect(Self.parts(pieces).flatMap(\.self).map(\.inline).joined() == whole, "\(first), \(second)")
      }
    }
  }

  @Test(arguments: [
    ("\u{1B}", "␛"), ("\r", "␍"), ("\u{0}", "␀"), ("\u{9B}", "\\u{9b}"), ("\u{202E}", "\\u{202e}"),
    ("\u{2028}", "\\u{2028}"),
  ]) func `control characters are shown`(text: String, shown: String) {
    #expect(Self.parts([Array(text.utf8)]).first == [.control(shown)])
  }

  // MARK: Weights

  @Test func `the strongest column has the largest mean over the places`() {
    let routing = TokenRouting([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], []])
    #expect(routing.strongest == 1 && routing.means.count == 3)
    #expect(abs(routing.weight - 0.525) < 1e-6 && abs(routing.share - 0.525) < 1e-6)
    #expect(abs(routing.certainty - (0.525 - 1 / 3) * 1.5) < 1e-6)
  }

  @Test func `a negative weight can be the strongest`() {
    let routing = TokenRouting([[0.5, -1.5]])
    #expect(routing.strongest == 1 && routing.weight == -1.5 && routing.share == 0.75)
  }

  @Test func `equal weights have no strongest`() {
    #expect(TokenRouting([[1 / 3, 1 / 3, 1 / 3]]).strongest == nil)
    #expect(TokenRouting([[0.2, 0.3, 0.5], [0.8, 0.2, 0]]).strongest == 0)
    #expect(TokenRouting([[0.5, -0.5]]).strongest == nil)
    #expect(TokenRouting([[0, 0]]).strongest == nil)
    #expect(TokenRouting([]).strongest == nil && TokenRouting([[], []]).means.isEmpty)
  }

  @Test func `one column is sure, and what is not finite counts nothing`() {
    #expect(TokenRouting([[0.2]]).certainty == 1)
    #expect(TokenRouting([[.nan, 1], [.infinity, 1]]).means == [0, 1])
  }

  @Test func `the summary counts who leads`() {
    var summary = RoutingSummary(width: 2)
    for weights: [[Float]] in [[[1, 0]], [[0.75, 0.25]], [[0.5, 0.5]], [[0, 1]], []] {
      summary.add(TokenRouting(weights))
    }
    #expect(summary.tokenCount == 4 && summary.leads == [2, 1])
    #expect(summary.undecided == 0.25 && summary.mean(0) == 0.5625)
  }

  @Test func `a place that saw only the last tokens is aligned with the end`() {
    let record = RoutingRecord(width: 2, weights: [[0, 1, 2, 3, 4, 5], [6, 7], []])
    #expect(record.tokenCount == 3)
    #expect(record.weights(ofToken: 0) == [[0, 1], [], []])
    #expect(record.weights(ofToken: 2) == [[4, 5], [6, 7], []])
    // Sampled, not read any more.
    #expect(record.weights(ofToken: 3) == [[], [], []])
    #expect(record.weights(ofToken: -1) == [[], [], []])
  }

  // MARK: Places

  @Test func `places are ordered by layer and module`() {
    let grid = PlaceGrid([
      "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "model.layers.10.self_attn.q_proj",
      "model.layers.2.mlp.up_proj", "lm_head",
    ])
    #expect(grid.layers == [0, 2, 10] && grid.modules.map(PlaceGrid.label) == ["q", "up"])
    #expect(grid.cells == [0, nil, 2, 1, 3, nil] && grid.others == [4])
  }

  @Test func `a gate for each layer has one row, a gate for all has none`() {
    let layers = PlaceGrid(["model.layers.0", "model.layers.1"])
    #expect(layers.layers == [0, 1] && layers.modules == [""] && layers.cells == [0, 1])
    let global = PlaceGrid(["global"])
    #expect(global.layers.isEmpty && global.cells.isEmpty && global.others == [0])
    #expect(PlaceGrid(["layers", "layers.x", "model.layers.-1"]).others == [0, 1, 2])
  }
}
