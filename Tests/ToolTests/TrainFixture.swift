import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// The embedded bundle with two experts and a gate, and short runs on it.
final class TrainFixture: Sendable {
  static let embedded = Tool.fixtures + "/embedded"
  let tool: Tool

  init() throws {
    tool = try Tool()
    try run(
      ["import", "--base", Self.embedded + "/base", "-o", "b.lmoe"]
        + ["sql", "verse"].flatMap { ["--expert", "\($0)=\(Self.embedded)/\($0)"] })
    // A second generation, beside which no other can be taken for the first.
    try run(["gate", "init", "b.lmoe", "--kind", "random", "--force"])
    try FileManager.default.copyItem(atPath: tool.path("b.lmoe"), toPath: tool.path("before.lmoe"))
  }

  /// What every run has: texts of two kinds, small steps.
  static let texts = ["sql", "verse"].flatMap { ["--data", "\($0)=\(embedded)/text/\($0).test.jsonl"] }
  static let small = texts + ["--batch-tokens", "128", "--context", "64"]

  /// Runs a command that must succeed.
  @discardableResult func run(_ arguments: [String]) throws -> Tool.Output {
    let output = try tool.run(arguments)
    try #require(output.status == 0, "\(arguments): \(output)")
    return output
  }

  /// Trains as `arguments` say, after the bundle, beside the small texts.
  @discardableResult func train(_ arguments: [String]) throws -> Tool.Output {
    try run(["train", "b.lmoe"] + Self.small + arguments)
  }

  func bundle(_ name: String = "b.lmoe") throws -> Bundle { try Bundle(path: tool.path(name)) }

  /// Brings the bundle back to what it was before any training.
  func reset(_ name: String = "b.lmoe") throws {
    for name in [name, name + ".train", name + ".metrics.jsonl"] {
      try? FileManager.default.removeItem(atPath: tool.path(name))
    }
    try FileManager.default.copyItem(atPath: tool.path("before.lmoe"), toPath: tool.path(name))
  }

  /// What identifies the values of every bank.
  func values(_ name: String = "b.lmoe") throws -> [String: Bits128] {
    Dictionary(uniqueKeysWithValues: try bundle(name).banks.map { ($0.name, $0.contentID) })
  }

  /// The steps that the metrics of a run have, in the order of the lines.
  func steps(_ name: String = "b.lmoe") throws -> [JSON] {
    guard let bytes = try? tool.contents(name + ".metrics.jsonl") else { return [] }
    return bytes.split(separator: 0x0A).compactMap { try? JSON(parsing: Array($0)) }
      .filter { $0["kind"] == "step" }
  }

  /// Starts a run and waits until it has taken some steps.
  func start(_ arguments: [String], steps: Int, of name: String = "b.lmoe") throws -> Tool.Running {
    let running = try tool.start(arguments)
    let deadline = Date.now + 20
    while try self.steps(name).count < steps, Date.now < deadline { usleep(1000) }
    return running
  }

  /// Interrupts a run after some steps.
  func interrupt(
    _ arguments: [String], after steps: Int, with signal: Int32 = SIGINT, of name: String = "b.lmoe"
  ) throws -> Tool.Output {
    let running = try start(arguments, steps: steps, of: name)
    running.send(signal)
    return try running.wait()
  }

  /// The sentence of a refusal, after "Error: ".
  func refusal(_ arguments: [String], status: Int32 = 3, sourceLocation: SourceLocation = #_sourceLocation)
    throws
    -> String
  {
    let output = try tool.run(arguments)
    #expect(output.status == status && output.out == "", "\(output)", sourceLocation: sourceLocation)
    return (output.err.split(separator: "\n").last { $0.hasPrefix("Error: ") } ?? "").dropFirst(7).description
  }
}
