import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// The command `train`: what it leaves, and what it refuses.
@Suite(.timeLimit(.minutes(2))) struct TrainTests {
  private let fixture: TrainFixture
  private var tool: Tool { fixture.tool }

  init() throws { fixture = try TrainFixture() }

  @Test func `gate and experts, in one generation`() throws {
    let before = try fixture.bundle()
    let output = try fixture.train(["--steps", "4", "--seed", "3"])
    let lines = output.out.split(separator: "\n").map(String.init)
    #expect(lines.count == 2 && lines[1] == "b.lmoe: published as generation 3", "\(output.out)")
    #expect(
      lines[0].wholeMatch(
        of:
          #/b\.lmoe: trained the gate and 2 experts in 4 steps, \d+ tokens, .* s; loss \d\.\d{3} → \d\.\d{3}/#
      ) != nil, "\(lines[0])")
    let after = try fixture.bundle()
    #expect(after.generation == before.generation + 1 && after.banks.map(\.name) == before.banks.map(\.name))
    for (old, new) in zip(before.banks, after.banks) {
      #expect(old.id == new.id)
      let isTrained = ["expert/sql", "expert/verse", "gate/default"].contains(old.name)
      #expect((old.contentID != new.contentID) == isTrained, "\(old.name)")
    }
    let notes = try after.history().map(\.root.note)
    #expect(notes.contains("train gate/default, expert/sql, expert/verse (4 steps)"), "\(notes)")
    let card = try #require(try after.card(of: after.bank("expert/sql"))).serialized()
    #expect(card.contains("\"seed\":3") && card.contains("\"step\":4"), "\(card)")
    try tool.succeed("verify", "b.lmoe", "--full")
    // Nothing is left but the course of the run.
    #expect(try tool.names() == ["b.lmoe", "b.lmoe.metrics.jsonl", "before.lmoe"])
    let steps = try fixture.steps()
    #expect(steps.compactMap { $0["step"]?.int } == [1, 2, 3, 4])
    #expect(try tool.succeed("report", "b.lmoe").out.hasPrefix("b.lmoe.report.html: 4 steps"))
    // It learned something of what it read.
    let data = TrainFixture.texts + ["--limit", "8", "--json"]
    func loss(_ name: String) throws -> Double {
      let json = try fixture.run(["eval", name, "--gate", "default"] + data).json()
      return try #require(json["results"]?.array?.first?["all"]?["nats_per_token"]?.double, "\(json)")
    }
    #expect(try loss("b.lmoe") < loss("before.lmoe"))
  }

  @Test func `the gate alone, the experts alone`() throws {
    let before = try fixture.values()
    func changed(_ arguments: String...) throws -> [String] {
      try fixture.reset()
      try fixture.train(["--steps", "2"] + arguments)
      let after = try fixture.values()
      #expect(Set(after.keys).isSuperset(of: before.keys))
      return after.filter { before[$0.key] != $0.value }.keys.sorted()
    }
    #expect(try changed("--train", "gate") == ["gate/default"])
    #expect(try changed("--train", "experts") == ["expert/sql", "expert/verse"])
    #expect(try changed("--train", "experts", "--expert", "sql") == ["expert/sql"])
    #expect(try changed("--train", "experts", "--expert", "sql", "--alone") == ["expert/sql"])
    #expect(
      try changed("--train", "experts", "--new-expert", "prose", "--rank", "2", "--uniform") == [
        "expert/prose"
      ])
    #expect(
      try changed("--train", "gate", "--new-gate", "cosine", "--gate", "second", "--null") == ["gate/second"])
    // The same options, the same bits.
    _ = try changed("--train", "gate", "--threads", "1")
    let first = try fixture.values()
    _ = try changed("--train", "gate", "--threads", "2")
    #expect(try fixture.values() == first)
    _ = try changed("--train", "gate", "--seed", "1")
    #expect(try fixture.values() != first)
  }

  @Test func `to a new bundle`() throws {
    let bytes = try tool.contents("b.lmoe")
    let output = try fixture.train(["--steps", "2", "-o", "new.lmoe", "--json"])
    let json = try output.json()
    #expect(json["schema"] == 1 && json["path"] == "new.lmoe" && json["generation"] == 1 && json["step"] == 2)
    #expect(try tool.contents("b.lmoe") == bytes)
    #expect(
      try tool.names() == ["b.lmoe", "before.lmoe", "new.lmoe", "new.lmoe.metrics.jsonl"])
    try tool.succeed("verify", "new.lmoe", "--full")
    let trained = try fixture.values("new.lmoe")
    try fixture.train(["--steps", "2"])
    #expect(try fixture.values() == trained)
    let ids = try [fixture.bundle("new.lmoe"), fixture.bundle()].map { $0.banks.map(\.id) }
    #expect(ids[0] == ids[1])
    #expect(
      try fixture.refusal(["train", "b.lmoe", "-o", "new.lmoe", "--steps", "1"] + TrainFixture.small)
        == "new.lmoe already exists; choose another name or remove it")
  }

  @Test func `the best of the held-out evaluations is published`() throws {
    let held = ["--eval-data", "verse=\(TrainFixture.embedded)/text/verse.test.jsonl", "--eval-limit", "3"]
    let run = ["--schedule", "constant", "--rate-warmup", "0"]
    func best(_ arguments: [String]) throws -> Int {
      let json = try fixture.train(held + run + ["--json"] + arguments).json()
      let lines = try tool.contents("b.lmoe.metrics.jsonl").split(separator: 0x0A)
      let evaluations = try lines.map { try JSON(parsing: Array($0)) }.filter { $0["kind"] == "evaluation" }
      #expect(evaluations.compactMap { $0["step"]?.int } == Array(0...(json["step"]?.int ?? -1)))
      let nats = evaluations.compactMap { $0["nats"]?.double }
      let least = try #require(nats.min())
      #expect(abs(try #require(json["best"]?["nats"]?.double) - least) < 1e-6 * least)
      return try #require(json["best"]?["step"]?.int)
    }
    // Rates that ruin it at once: what is published is what it began with.
    #expect(try best(["--steps", "3", "--eval-every", "1", "--rate", "0.3", "--clip", "0"]) == 0)
    func loss(_ name: String) throws -> Double {
      let data = ["--data", "\(TrainFixture.embedded)/text/verse.test.jsonl", "--limit", "3", "--json"]
      let json = try fixture.run(["eval", name, "--gate", "default"] + data).json()
      return try #require(json["results"]?.array?.first?["all"]?["nats_per_token"]?.double, "\(json)")
    }
    #expect(try loss("b.lmoe") == loss("before.lmoe"))
    // After some steps, and before others.
    try fixture.reset()
    let found = try best(["--steps", "8", "--eval-every", "1", "--rate", "0.002"])
    let values = try fixture.values()
    #expect(found > 0)
    try fixture.reset()
    try fixture.train(run + ["--steps", "\(found)", "--rate", "0.002"])
    #expect(try fixture.values() == values)
  }

  @Test func `texts that cannot be learned`() throws {
    func write(_ text: String) throws {
      try Data(text.utf8).write(to: URL(filePath: tool.path("t.jsonl")))
    }
    func refusal(_ arguments: String...) throws -> String {
      try fixture.refusal(["train", "b.lmoe", "--data", "t.jsonl", "--steps", "3"] + arguments)
    }
    try write("{\"text\": \"Once upon a time\"}\n{\"text\": 3}\n")
    #expect(try refusal() == "t.jsonl: line 2: its \"text\" is not a string")
    try write("{\"text\": \"Once\"}\n\n{\"text\": \"Once upon a time there was a fox\"}\n{\"text\"\n")
    #expect(try refusal("--no-shuffle").hasPrefix("t.jsonl: line 4: "))
    try write("{\"text\": \"Once\"}\n{\"text\": \"Once upon a time there was a fox\"}\n")
    let long = try refusal("--context", "4", "--long", "refuse")
    #expect(
      long
        == "t.jsonl: line 2: it has 9 tokens and the context 4; split or truncate long texts, or give a larger "
        + "context")
    for way in ["split", "truncate"] {
      try fixture.run([
        "train", "b.lmoe", "--data", "t.jsonl", "--steps", "1", "--context", "4", "--long", way,
      ])
    }
    #expect(
      try fixture.refusal(["train", "b.lmoe", "--data", "none.jsonl", "--steps", "3"], status: 74)
        .contains("none.jsonl"))
    #expect(
      try refusal("--context", "600")
        == "b.lmoe: the model was made for 512 tokens, and --context is 600")
    #expect(try refusal("--expert", "sqk").hasPrefix("b.lmoe: there is no expert sqk; did you mean sql?"))
    #expect(try refusal("--gate", "g").hasPrefix("b.lmoe: there is no gate g"))
    #expect(try refusal("--new-expert", "sql").contains("expert/sql"))
    #expect(
      try refusal("--new-gate", "linear", "--top-k", "1").hasSuffix(
        "make it anew with --top-k 1 --raw, or with a larger k"))
    // Nothing of this touched the bundle after the two that were trained.
    #expect(try fixture.bundle().generation == 4)
    #expect(try fixture.bundle().successor == nil)
  }

  @Test func `a loss that is no number`() throws {
    let output = try tool.run(
      ["train", "b.lmoe", "--steps", "30", "--rate", "1e30", "--clip", "0", "--save-every", "1"]
        + TrainFixture.small)
    #expect(output.status == 3 && output.out == "")
    #expect(
      output.err.contains(#/Error: b\.lmoe: the loss is no longer a number in step \d+; go on from .*\n/#),
      "\(output.err)")
    #expect(try tool.contents("b.lmoe") == tool.contents("before.lmoe"))
  }
}
