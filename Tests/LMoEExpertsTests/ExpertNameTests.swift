import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

/// Names that can be typed, and stand in `NAME=DIR`, `FILE#NAME` and lists.
@Suite struct ExpertNameTests {
  @Test(arguments: [
    "a", "math", "math-v2.1", "日本語", "é", "e\u{301}", "with space", "a.b", "...", "..a", "_", "😀", "a:b",
    "a@b", "~",
    String(repeating: "x", count: 255), String(repeating: "é", count: 127),
  ])
  func `accepted`(name: String) throws {
    try requireExpertName(name)
  }

  @Test(arguments: [
    "", ".", "..", "a/b", "/", "a=b", "=", "a,b", "a#b", "-a", "--help", " a", "a ", "a\nb", "a\u{1B}[31m",
    "a\0b", "\u{7F}",
    "\u{85}", String(repeating: "x", count: 256), String(repeating: "é", count: 128),
  ])
  func `refused`(name: String) {
    let error = #expect(throws: ExpertError.self) { try requireExpertName(name) }
    #expect(error?.code == .invalidName)
    #expect(error?.description.unicodeScalars.contains { $0.properties.generalCategory == .control } == false)
  }

  @Test(arguments: ["a/\u{301}b", "a=\u{301}b", "a,\u{301}b", "a#\u{301}", "a=\u{338}b"])
  func `forbidden bytes before a combining character`(name: String) {
    #expect(throws: ExpertError.self) { try requireExpertName(name) }
  }

  @Test func `expert of a bundle without a base`() throws {
    let scratch = try Scratch()
    let writer = try BundleWriter(creating: scratch.path("empty.lmoe"))
    try writer.commit(note: "nothing")
    let again = try BundleWriter(appendingTo: scratch.path("empty.lmoe"))
    let error = #expect(throws: ExpertError.self) { _ = try again.baseDescription() }
    #expect(error?.code == .noBase)
  }
}
