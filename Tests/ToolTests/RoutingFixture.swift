import Foundation
import Testing

@testable import lmoe_tool

/// A small text with everything that is hard to show.
enum RoutingFixture {
  static func trace(_ tokens: [(String, [Float])] = text, prompt: Int = 3) -> RoutingTrace {
    RoutingTrace(
      title: "a <b>.lmoe", model: "tiny & small", selection: "gate \"learned\"",
      columns: ["sql", "verse", ""], places: ["model.layers.0", "model.layers.1", "lm_head"],
      tokens: tokens.enumerated().map { index, token in
        // The second layer is a little less sure; the head sees what is generated.
        let second = token.1.map { $0 * 0.75 + 0.0625 }
        return RoutingTrace.Token(
          text: Array(token.0.utf8), isPrompt: index < prompt,
          weights: token.1.isEmpty ? [] : [token.1, second, index < prompt ? [] : token.1])
      })
  }

  static let text: [(String, [Float])] = [
    ("Once", [0.25, 0.25, 0.5]), (" upon", [0.125, 0.125, 0.75]), ("\n", [0.25, 0.5, 0.25]),
    ("SELECT", [1, 0, 0]), (" <b>&amp;\"'", [0.5, 0.25, 0.25]), ("</script><!--", [0.625, 0.25, 0.125]),
    ("\u{2028}\u{202E}", [0.25, 0.25, 0.5]), ("\u{1B}[31m\r\t", [-1, 0.25, 0]),
    ("\u{301}🦊", [0.25, 0.75, 0]), (" rose.", [0.375, 0.375, 0.25]), ("\n", []),
  ]

  /// Compares with a file, or writes it if `LMOE_UPDATE_SNAPSHOTS` is set.
  static func expectSnapshot(
    _ name: String, _ text: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let file = HelpTests.snapshots.appending(path: name)
    if ProcessInfo.processInfo.environment["LMOE_UPDATE_SNAPSHOTS"] == "1" {
      try Data(text.utf8).write(to: file)
    }
    let old = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
    // Byte by byte: a text's own equality overlooks how accents are composed.
    #expect(
      Array(old.utf8) == Array(text.utf8), "\(name):\n\(HelpTests.difference(old, text))",
      sourceLocation: sourceLocation)
  }
}
