import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Training that is stopped and goes on.
@Suite(.serialized, .timeLimit(.minutes(2))) struct TrainResumeTests {
  private let fixture: TrainFixture
  private var tool: Tool { fixture.tool }

  init() throws { fixture = try TrainFixture() }

  /// The words of a run of some steps.
  private static func words(_ steps: Int, _ more: String...) -> [String] {
    ["train", "b.lmoe"] + TrainFixture.small + ["--steps", "\(steps)", "--dropout", "0.1"] + more
  }

  private static let resume = ["train", "b.lmoe", "--resume"]

  /// What a run without an interruption gives; the bundle is then as it was.
  private func expected(_ words: [String]) throws -> (values: [String: Bits128], steps: [JSON]) {
    try fixture.run(words)
    let result = (try fixture.values(), try fixture.steps().map(timeless))
    try fixture.reset()
    return result
  }

  private func timeless(_ step: JSON) -> JSON {
    guard case .object(var object) = step else { return step }
    for key in ["seconds", "tokensPerSecond"] { object[key] = nil }
    return .object(object)
  }

  @Test func `Ctrl-C, and on`() throws {
    let words = Self.words(30, "--accumulate", "2", "--warmup-steps", "10")
    let expected = try expected(words)
    for signal in [SIGINT, SIGTERM] {
      try fixture.reset()
      let first = try fixture.interrupt(words, after: 3, with: signal)
      #expect(first.status == 130 && !first.wasKilled && first.out == "", "\(first)")
      let sentence =
        #/b\.lmoe: interrupted after step (\d+); go on with "lmoe-tool train b\.lmoe --resume"\n/#
      let step = try #require(sentence.firstMatch(in: first.err)?.1, "\(first.err)")
      #expect(try tool.names() == ["b.lmoe", "b.lmoe.metrics.jsonl", "b.lmoe.train", "before.lmoe"])
      #expect(try tool.contents("b.lmoe") == tool.contents("before.lmoe"))
      // Twice is as good.
      let second = try fixture.interrupt(Self.resume, after: (try #require(Int(step))) + 3, with: signal)
      #expect(second.status == 130, "\(second)")
      let last = try fixture.run(Self.resume)
      #expect(last.out.contains("in 30 steps"))
      #expect(try fixture.values() == expected.values, "signal \(signal)")
      #expect(try fixture.steps().map(timeless) == expected.steps)
      #expect(try fixture.bundle().generation == 3)
      #expect(try tool.names() == ["b.lmoe", "b.lmoe.metrics.jsonl", "before.lmoe"])
    }
  }

  private static let heldOut = [
    "--eval-data", "sql=\(TrainFixture.embedded)/text/sql.train.jsonl", "--eval-limit", "2",
  ]

  @Test func `kill -9 after a publication on the way`() throws {
    let words = Self.words(40) + Self.heldOut + ["--eval-every", "3", "--publish", "best", "--rate", "0.003"]
    let expected = try expected(words)
    let running = try tool.start(words)
    let deadline = Date.now + 20
    // A step after the publication: by then the state knows of it.
    while Date.now < deadline {
      let lines = (try? tool.contents("b.lmoe.metrics.jsonl").split(separator: 0x0A)) ?? []
      let kinds = lines.compactMap { (try? JSON(parsing: Array($0)))?["kind"]?.string }
      if let place = kinds.firstIndex(of: "published"), kinds[place...].contains("step") { break }
      usleep(1000)
    }
    running.send(SIGKILL)
    #expect(try running.wait().wasKilled)
    #expect(try fixture.bundle().generation > 2)
    try fixture.run(Self.resume)
    #expect(try fixture.values() == expected.values)
    #expect(try fixture.steps().map(timeless) == expected.steps)
  }

  @Test func `the best values of another run are not taken`() throws {
    func goOn() throws -> [String: Bits128] {
      try fixture.run(Self.words(12) + ["--restart", "--keep-state"])
      #expect(try fixture.bundle().generation == 3)
      try fixture.run(Self.resume + ["--steps", "16"])
      #expect(try fixture.bundle().generation == 4)
      return try fixture.values()
    }
    let expected = try goOn()
    try fixture.reset()
    #expect(try fixture.interrupt(Self.words(60) + Self.heldOut, after: 3).status == 130)
    #expect(try goOn() == expected)
  }

  @Test func `kill -9 at any moment`() throws {
    let words = Self.words(24, "--save-every", "1")
    let expected = try expected(words)
    var window = 150_000.0
    var (killed, resumed) = (0, 0)
    for _ in 0..<3 {
      try fixture.reset()
      while true {
        let isBegun = FileManager.default.fileExists(atPath: tool.path("b.lmoe.train"))
        resumed += isBegun ? 1 : 0
        let running = try tool.start(isBegun ? Self.resume : words)
        usleep(UInt32.random(in: 0...UInt32(window)))
        running.send(SIGKILL)
        let output = try running.wait()
        if !output.wasKilled {
          #expect(output.status == 0, "\(output)")
          window *= 0.8
          break
        }
        killed += 1
        // Else a slow machine never comes to an end.
        window *= 1.25
        // Killed between the publication and the end.
        if try fixture.bundle().generation == 3 { break }
        #expect(try fixture.values() != expected.values)
      }
      #expect(try fixture.values() == expected.values)
      #expect(try fixture.bundle().generation == 3)
      #expect(try fixture.steps().map(timeless) == expected.steps)
      try tool.succeed("verify", "b.lmoe", "--full")
    }
    #expect(killed > 3 && resumed > 1, "\(killed) killed, \(resumed) resumed: the test is blind")
  }

  @Test func `into a new bundle, and from another directory`() throws {
    let words = Self.words(60, "-o", "new.lmoe")
    let first = try fixture.interrupt(words, after: 2, of: "new.lmoe")
    #expect(first.status == 130)
    try fixture.run(["train", tool.path("b.lmoe"), "--resume", "--steps", "20"])
    #expect(try fixture.steps("new.lmoe").count >= 20)
    #expect(try tool.contents("b.lmoe") == tool.contents("before.lmoe"))
    #expect(try fixture.bundle("new.lmoe").generation == 1)
    #expect(try tool.names() == ["b.lmoe", "before.lmoe", "new.lmoe", "new.lmoe.metrics.jsonl"])
  }

  @Test func `what cannot go on`() throws {
    #expect(
      try fixture.refusal(Self.resume)
        == "b.lmoe.train: there is no interrupted run to go on with; begin one with --data and without --resume"
    )
    let words = Self.words(1000)
    #expect(try fixture.interrupt(words, after: 2).status == 130)
    let state = try tool.contents("b.lmoe.train")
    // Nobody begins another by mistake.
    #expect(
      try fixture.refusal(Self.words(5))
        == "b.lmoe.train: a run was interrupted; go on with --resume, or begin anew with --restart")
    // What does not take part may come and go.
    try fixture.run(["add", "b.lmoe", "json=\(TrainFixture.embedded)/json"])
    let step = try fixture.steps().count
    let again = try fixture.interrupt(Self.resume, after: step + 2)
    #expect(again.status == 130, "\(again)")
    // A name can be given back.
    try tool.succeed("rename", "b.lmoe", "sql", "queries")
    #expect(
      try fixture.refusal(Self.resume)
        == "b.lmoe.train: the expert sql takes part in the run, and b.lmoe has none of that name now; rename it "
        + "back or restore it, or begin anew with --restart")
    try tool.succeed("rename", "b.lmoe", "queries", "sql")
    #expect(try fixture.interrupt(Self.resume, after: step + 5).status == 130)
    // What is gone, and what was changed.
    try fixture.run(["remove", "b.lmoe", "sql"])
    #expect(
      try fixture.refusal(Self.resume)
        == "b.lmoe: expert/sql is gone, gate/default was changed since the training began, and nothing was "
        + "published; restore the generation that it began from (\"lmoe-tool history\" lists them), or train anew"
    )
    let saved = try tool.contents("b.lmoe.train")
    #expect(saved != state && !saved.isEmpty)
    try fixture.run(["restore", "b.lmoe", "--generation", "2"])
    #expect(try fixture.interrupt(Self.resume, after: step + 8).status == 130)
    // Another file of that name.
    try FileManager.default.removeItem(atPath: tool.path("b.lmoe"))
    try tool.makeBundle("b.lmoe")
    #expect(
      try fixture.refusal(Self.resume)
        == "b.lmoe.train: it is the state of a run on another file than b.lmoe; begin anew with --restart")
    #expect(try tool.contents("b.lmoe.train").count >= saved.count / 2)
    // Begun anew.
    try FileManager.default.removeItem(atPath: tool.path("b.lmoe"))
    try FileManager.default.copyItem(atPath: tool.path("before.lmoe"), toPath: tool.path("b.lmoe"))
    try fixture.run(Self.words(2, "--restart"))
    #expect(try tool.names() == ["b.lmoe", "b.lmoe.metrics.jsonl", "before.lmoe"])
  }

  @Test func `a bank that changes while it is trained`() throws {
    let running = try fixture.start(Self.words(30), steps: 2)
    try fixture.run(["remove", "b.lmoe", "verse"])
    let output = try running.wait()
    #expect(output.status == 3 && output.out == "")
    #expect(
      output.err.contains("expert/verse is gone, gate/default was changed since the training began"),
      "\(output.err)")
    // Its state stays; the generation that it began from brings it to its end.
    #expect(try tool.names().contains("b.lmoe.train") && fixture.bundle().generation == 3)
    try fixture.run(["restore", "b.lmoe", "--generation", "2"])
    let last = try fixture.run(Self.resume)
    #expect(last.out.contains("in 30 steps"))
    #expect(
      try fixture.bundle().bank("expert/verse").id == fixture.bundle("before.lmoe").bank("expert/verse").id)
  }
}
