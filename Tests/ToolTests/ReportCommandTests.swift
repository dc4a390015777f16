import Foundation
import Testing

/// The command `report`.
@Suite struct ReportCommandTests {
  private let tool: Tool

  init() throws {
    tool = try Tool()
    try FileManager.default.copyItem(
      atPath: ReportPageTests.path, toPath: tool.path("village.lmoe.metrics.jsonl"))
  }

  @Test func `of a bundle, of its metrics, and of others`() throws {
    let first = try tool.succeed("report", "village.lmoe").out
    #expect(
      first.hasPrefix("village.lmoe.report.html: 60 steps and 4 evaluations, ") && first.hasSuffix(" kB\n"))
    let page = try tool.contents("village.lmoe.report.html")
    // A page that is there is replaced.
    try tool.succeed("report", "village.lmoe", "--metrics", "village.lmoe.metrics.jsonl")
    try tool.succeed("report", "village.lmoe.metrics.jsonl")
    try tool.succeed("report", "other.lmoe", "--metrics", "village.lmoe.metrics.jsonl", "-o", "p.html")
    for name in ["village.lmoe.report.html", "village.lmoe.metrics.jsonl.report.html", "p.html"] {
      #expect(try tool.contents(name) == page, "\(name)")
    }
    #expect(
      try tool.names() == [
        "p.html", "village.lmoe.metrics.jsonl", "village.lmoe.metrics.jsonl.report.html",
        "village.lmoe.report.html",
      ])
  }

  @Test func `errors`() throws {
    let whole = try tool.contents("village.lmoe.metrics.jsonl")
    func write(_ name: String, _ bytes: [UInt8]) throws {
      try Data(bytes).write(to: URL(filePath: tool.path(name)))
    }
    var damaged = whole
    damaged[(try #require(whole.firstIndex(of: 0x0A))) + 1] = UInt8(ascii: "]")
    try write("damaged.jsonl", damaged)
    try write("text.jsonl", Array("Once upon a time\n".utf8))
    try write("empty.jsonl", [])
    let cases: [(arguments: [String], status: Int32, sentence: String)] = [
      (
        ["missing.lmoe"], 3,
        "missing.lmoe.metrics.jsonl: there is no such file; \"lmoe-tool train\" writes it, or name another "
          + "with --metrics"
      ),
      (
        ["damaged.jsonl"], 3,
        "damaged.jsonl: line 2: unexpected ']' (byte 0); take the line out to read the others"
      ),
      (
        ["text.jsonl"], 3,
        "text.jsonl: line 1: unexpected 'O' (byte 0); take the line out to read the others"
      ),
      (
        ["empty.jsonl"], 3,
        "empty.jsonl: it has no line of the kind \"run\", so it is not the metrics of a training run"
      ),
      (
        ["village.lmoe", "-o", "none/p.html"], 74, ""
      ),
    ]
    let before = try tool.names()
    for (arguments, status, sentence) in cases {
      let output = try tool.run(["report"] + arguments)
      #expect(output.status == status && output.out == "", "\(arguments): \(output)")
      if !sentence.isEmpty { #expect(output.err == "Error: \(sentence)\n") }
      #expect(output.err.split(separator: "\n").count == 1)
    }
    #expect(try tool.names() == before)
  }

  @Test func `a run that goes on`() throws {
    let whole = try tool.contents("village.lmoe.metrics.jsonl")
    try Data(whole.prefix(whole.count * 2 / 3)).write(to: URL(filePath: tool.path("torn.jsonl")))
    let line = try tool.succeed("report", "torn.jsonl").out
    #expect(line.hasPrefix("torn.jsonl.report.html: "))
    let page = String(decoding: try tool.contents("torn.jsonl.report.html"), as: UTF8.self)
    #expect(page.contains("of 60."))
  }
}
