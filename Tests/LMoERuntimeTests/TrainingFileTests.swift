import Foundation
import LMoECore
import LMoERuntime
import Testing

@testable import LMoERuntime

/// How files are read.
@Suite struct TrainingFileTests {
  typealias Fixture = TrainingDataFixture

  @Test(arguments: [
    ("{", "line 3: the text ends too early (byte 1)"),
    ("{\"text\": \"a\"", "line 3: the text ends too early (byte 12)"),
    ("[1]", "line 3: it is not a JSON object"), ("7", "line 3: it is not a JSON object"),
    ("{\"text\": \"a\"} x", "line 3: something follows the value (byte 14)"),
    ("{\"text\": 3}", "line 3: its \"text\" is not a string"),
    ("{\"text\": \"a\", \"text\": \"b\"}", "line 3: the key \"text\" stands twice in one object (byte 14)"),
    (
      "{\"prompt\": \"a\"}",
      "line 3: it has neither \"text\", nor \"prompt\" and \"completion\", nor \"messages\""
    ),
    ("{\"prompt\": \"a\", \"completion\": [\"b\"]}", "line 3: its \"completion\" is not a string"),
    ("{\"text\": \"a\", \"domain\": 3}", "line 3: its \"domain\" is not a string"),
    ("{\"text\": \"a\", \"domain\": \"\"}", "line 3: its \"domain\" is empty"),
    ("{\"text\": \"\u{1}\"}", "line 3: invalid escape or control character in a string (byte 10)"),
    ("{\"text\": \"\\ud800\"}", "line 3: invalid escape or control character in a string (byte 10)"),
    ("{\"messages\": []}", "line 3: its \"messages\" are not a list of messages"),
    ("{\"messages\": [{\"content\": \"a\"}]}", "line 3: message 1 has no \"role\""),
    (
      "{\"messages\": [{\"role\": \"user\", \"weight\": 2}]}",
      "line 3: the \"weight\" of message 1 is neither 0 nor 1"
    ),
    (
      "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
      "line 3: its \"messages\" have no text: the model has no chat template; save the tokenizer of a chat model "
        + "with save_pretrained and import again, or use plain text"
    ),
  ]) func `a bad line is named`(line: String, expected: String) throws {
    let text = "{\"text\": \"a\"}\n \t\r\n\(line)\n{\"text\": \"b\"}\n"
    let stream = try Fixture.stream([("d.jsonl", Array(text.utf8))])
    let error = #expect(throws: RuntimeError.self) { _ = try Fixture.texts(stream, 3) }
    #expect(error?.description == "d.jsonl: " + expected)
    #expect(error?.code == .invalidData)
    // The one notion of these files: evaluation says the same.
    let other = #expect(throws: RuntimeError.self) {
      try TextData(domain: "d", path: "d.jsonl", bytes: Array(text.utf8))
    }
    #expect(other == error)
  }

  @Test func `bytes that are not UTF-8 are named by their line`() throws {
    let line = Array("{\"text\": \"".utf8) + [0xFF] + Array("\"}\n".utf8)
    let error = #expect(throws: RuntimeError.self) {
      try Fixture.texts(try Fixture.stream([("d.ndjson", Fixture.numbered("a", 2) + line)]), 3)
    }
    #expect(error?.description == "d.ndjson: line 3: invalid UTF-8 (byte 10)")
    var text = Array(String(repeating: "a line of text\n", count: 10_000).utf8)
    text[15 * 7000 + 3] = 0xC3
    let stream = try Fixture.stream([("d.txt", text)])
    let plain = #expect(throws: RuntimeError.self) { while true { _ = try stream.next(tokens: 64) } }
    #expect(plain?.description == "d.txt: line 7001: it is not UTF-8")
    let other = #expect(throws: RuntimeError.self) { try TextData(domain: "d", path: "d.txt", bytes: text) }
    #expect(other == plain)
  }

  @Test(arguments: [("d.jsonl", ""), ("d.jsonl", "\n \n\r\n"), ("d.txt", "")])
  func `a source without texts`(path: String, text: String) {
    let error = #expect(throws: RuntimeError.self) { try Fixture.stream([(path, Array(text.utf8))]) }
    #expect(error?.description == "\(path): there are no texts in it")
  }

  @Test func `a missing file`() {
    #expect(throws: FileError.self) {
      try TrainingStream(
        [TrainingSource(path: "none.txt", domain: "d")], settings: Fixture.settings(),
        tokenizer: Fixture.tokenizer, files: SimulatedFileSystem())
    }
  }

  @Test(arguments: ["\n", "\r\n", "\n\n \n"]) func `line ends of all kinds`(end: String) throws {
    for isEnded in [false, true] {
      let lines = (0..<5).map { "{\"text\": \"a\($0)\"}" }.joined(separator: end) + (isEnded ? end : "")
      let stream = try Fixture.stream([("d.jsonl", Array(lines.utf8))], Fixture.settings(isShuffled: false))
      #expect(stream.documentCount == 5)
      #expect(try Fixture.texts(stream, 5) == (0..<5).map { "a\($0)" })
    }
  }

  @Test func `lines are found in any block`() throws {
    var text: [UInt8] = []
    var random = RandomSource(seed: 3)
    for number in 0..<400 {
      let padding = String(repeating: "x", count: Int(random.next() % (number % 50 == 0 ? 90_000 : 900)))
      let blank = String(repeating: "\n", count: number % 70 == 0 ? 40_000 : 0)
      text += Array("{\"text\": \"a\(number)\", \"padding\": \"\(padding)\"}\n\(blank)".utf8)
    }
    let stream = try Fixture.stream([("d.jsonl", text)], Fixture.settings(isShuffled: false))
    #expect(stream.documentCount == 400)
    #expect(try Fixture.texts(stream, 400) == (0..<400).map { "a\($0)" })
    #expect(stream.sources[0].files[0].blocks.count > 10)
  }

  @Test func `plain text is cut at line ends, or else at spaces, or else between characters`() throws {
    let lines = String(repeating: "Ein schöner Tag. 🦊\n", count: 9000)
    let spaces = String(repeating: "Ein schöner Tag. 🦊 ", count: 9000)
    let characters = String(repeating: "🦊", count: 60_000)
    for (text, isWhole) in [(lines, "\n"), (spaces, " "), (characters, nil)] {
      let bytes = Array(text.utf8)
      let stream = try Fixture.stream(
        [("d.txt", bytes)], Fixture.settings(1 << 20, between: 0, isShuffled: false))
      let pieces = try (0..<stream.documentCount).map { _ in try stream.next(tokens: 1)[0].tokens }
      #expect(pieces.count >= 3)
      let texts = pieces.map { Fixture.text($0) }
      // Only the text's own beginning and end have the token.
      #expect(texts.joined() == "<|endoftext|>\(text)<|endoftext|>")
      for piece in texts {
        #expect(piece.utf8.count <= 66_000)
        #expect(!piece.unicodeScalars.contains("\u{FFFD}"))
        if let isWhole, piece != texts.last { #expect(piece.hasSuffix(isWhole)) }
      }
    }
  }

  @Test func `a file that changes is an error`() throws {
    let system = SimulatedFileSystem(files: ["a.jsonl": Fixture.numbered("a", 9), "b.txt": Array("b".utf8)])
    func stream() throws -> TrainingStream {
      try TrainingStream(
        [TrainingSource(path: "b.txt", domain: "b"), TrainingSource(path: "a.jsonl", domain: "a")],
        settings: Fixture.settings(between: 0), tokenizer: Fixture.tokenizer, files: system)
    }
    let running = try stream()
    _ = try Fixture.texts(running, 4)
    let cursor = running.cursor
    let file = try system.open("a.jsonl", .update)
    try file.write(Array("{".utf8), at: 0)
    let error = #expect(throws: RuntimeError.self) { _ = try Fixture.texts(running, 9) }
    #expect(
      error?.description
        == "a.jsonl: it has changed since training began to read it; bring it back as it was, "
        + "or begin anew")
    let later = #expect(throws: RuntimeError.self) { try stream().restore(cursor) }
    #expect(later?.path == "a.jsonl" && later?.code == .invalidData)
    #expect(later?.description.contains("has changed since the interrupted run read it") == true)
    let fewer = try Fixture.stream([("b.txt", Array("b".utf8))])
    #expect(throws: RuntimeError.self) { try fewer.restore(cursor) }
  }

  @Test func `a directory is its files, and a real file has a time`() throws {
    let fixture = try RuntimeFixture()
    let directory = fixture.directory + "/data"
    try FileManager.default.createDirectory(
      atPath: directory + "/more", withIntermediateDirectories: true)
    for (name, bytes) in [
      ("b.jsonl", Fixture.numbered("b", 2)), ("a.txt", Array("plain".utf8)), (".hidden", [0xFF]),
      ("empty.jsonl", []), ("more/c.jsonl", Fixture.numbered("c", 1)),
    ] { try Data(bytes).write(to: URL(filePath: "\(directory)/\(name)")) }
    func stream() throws -> TrainingStream {
      try TrainingStream(
        [TrainingSource(path: directory, domain: "d")],
        settings: Fixture.settings(between: 0, isShuffled: false),
        tokenizer: Fixture.tokenizer)
    }
    let running = try stream()
    let texts = try Fixture.texts(running, 4)
    #expect(texts == ["plain", "b0", "b1", "c0"].map { "<|endoftext|>\($0)<|endoftext|>" })
    let cursor = running.cursor
    try stream().restore(cursor)
    // The same bytes, written again.
    try FileManager.default.setAttributes(
      [.modificationDate: Date(timeIntervalSince1970: 1e9)], ofItemAtPath: directory + "/b.jsonl")
    let error = #expect(throws: RuntimeError.self) { try stream().restore(cursor) }
    #expect(error?.path == directory + "/b.jsonl")
    #expect(throws: RuntimeError.self) { _ = try Fixture.texts(running, 4) }
  }

  @Test func `a file of 300 MB is indexed a window at a time`() throws {
    let system = RepeatedLineSystem(
      line: "{\"text\": \"a line of some length\", \"n\": 17}\n", count: 7_000_000)
    let stream = try TrainingStream(
      [TrainingSource(path: "large.jsonl", domain: "d")], settings: Fixture.settings(),
      tokenizer: Fixture.tokenizer, files: system)
    #expect(system.fileSize > 290_000_000 && stream.documentCount == 7_000_000)
    #expect(system.largestRead == 1 << 20)
    // 16 bytes each.
    #expect(stream.sources[0].files[0].blocks.count < 10_000)
    #expect(try Fixture.texts(stream, 3) == [String](repeating: "a line of some length", count: 3))
    #expect(system.largestRead == 1 << 20)
  }
}
