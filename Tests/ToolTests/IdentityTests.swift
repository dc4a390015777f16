import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Experts and bases that go from one bundle to another, on the command line.
@Suite(.timeLimit(.minutes(2))) struct IdentityTests {
  private let tool: Tool
  private static let llama = Tool.fixtures + "/tiny-llama"
  private static let sharded = Tool.fixtures + "/tiny-llama-sharded"

  init() throws {
    tool = try Tool()
    try tool.makeBundle("a.lmoe")
    try tool.makeBundle("b.lmoe", experts: ["verse"])
  }

  private func bundle(_ name: String) throws -> Bundle { try Bundle(path: tool.path(name)) }

  /// A bundle of the untied checkpoint: another base, whose weights have the same shapes.
  private func makeOther() throws {
    let output = try tool.run("import", "--base", Self.sharded, "-o", "other.lmoe")
    try #require(output.status == 0)
  }

  private func expectRefusal(
    _ arguments: [String], _ sentence: String, status: Int32 = 3,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let (names, bytes) = (try tool.names(), try tool.contents("b.lmoe"))
    let output = try tool.run(arguments)
    #expect(output.status == status && output.out == "", sourceLocation: sourceLocation)
    #expect(output.err == "Error: \(sentence)\n", sourceLocation: sourceLocation)
    #expect(
      try tool.names() == names && tool.contents("b.lmoe") == bytes, "something was changed or left",
      sourceLocation: sourceLocation)
  }

  @Test func `experts of bundles and of directories, in one commit`() throws {
    let output = try tool.succeed(
      "add", "b.lmoe", "sums=a.lmoe#math", "code=\(Tool.adapter("code"))", "poems=b.lmoe#verse")
    #expect(output.out.hasPrefix("b.lmoe: added expert/sums, expert/code, expert/poems; "))
    #expect(output.out.hasSuffix(" written, generation 2\n"))
    let (a, b) = (try bundle("a.lmoe"), try bundle("b.lmoe"))
    #expect(b.generation == 2 && b.banks(ofKind: "expert").count == 4)
    #expect(
      b.root.note == "add expert/sums from a.lmoe#math, expert/code, expert/poems from b.lmoe#verse")
    #expect(try b.bank("expert/sums").id == a.bank("expert/math").id)
    #expect(try b.bank("expert/poems").id != b.bank("expert/verse").id)
    #expect(try b.bank("expert/code").id != a.bank("expert/code").id)
    try tool.succeed("verify", "b.lmoe", "--full")
    try tool.succeed("export", "b.lmoe", "--to", "peft", "--expert", "sums", "-o", "out")
    #expect(
      try contents(ofDirectory: tool.path("out")) == contents(ofDirectory: Tool.adapter("math")))
  }

  @Test func `sources that name no expert`() throws {
    let listing = "a.lmoe is a bundle; name one of its experts as a.lmoe#NAME: it has code, math"
    try expectRefusal(["add", "b.lmoe", "x=a.lmoe"], listing)
    try expectRefusal(["add", "b.lmoe", "x=a.lmoe#"], listing)
    try expectRefusal(
      ["add", "b.lmoe", "x=a.lmoe#none"], "a.lmoe has no bank \"expert/none\"; did you mean \"expert/code\"?")
    try expectRefusal(
      ["add", "b.lmoe", "x=none.lmoe#math"], "cannot open none.lmoe#math: no such file or directory",
      status: 74)
    try expectRefusal(
      ["add", "b.lmoe", "verse=a.lmoe#math"],
      "b.lmoe already has a bank \"expert/verse\"; remove it first or choose another name")
    try expectRefusal(
      ["add", "b.lmoe", "x=a.lmoe#math", "x=a.lmoe#code"],
      "b.lmoe already has a bank \"expert/x\"; remove it first or choose another name")
    try Data("no bundle".utf8).write(to: URL(filePath: tool.path("text")))
    try expectRefusal(["add", "b.lmoe", "x=text"], "text is not a directory")
    try expectRefusal(["add", "b.lmoe", "x=text#y"], "text is not an .lmoe bundle")
    try Data(try tool.contents("a.lmoe").dropLast(5000)).write(to: URL(filePath: tool.path("cut")))
    #expect(try tool.run("add", "b.lmoe", "x=cut#math").err.hasPrefix("Error: cut is truncated"))
    #expect(try tool.run("add", "b.lmoe", "x=cut").err.hasPrefix("Error: cut is truncated"))
  }

  @Test func `a directory with # in its name is a directory`() throws {
    let manager = FileManager.default
    try manager.createDirectory(atPath: tool.path("my"), withIntermediateDirectories: false)
    for name in ["c#", "a.lmoe#math"] {
      try manager.copyItem(atPath: Tool.adapter("code"), toPath: tool.path(name))
    }
    try tool.succeed("add", "b.lmoe", "x=c#", "y=a.lmoe#math")
    let (a, b) = (try bundle("a.lmoe"), try bundle("b.lmoe"))
    for name in ["x", "y"] {
      #expect(try b.bank("expert/" + name).contentID == a.bank("expert/code").contentID)
    }
  }

  @Test func `another base is refused, or accepted with a note`() throws {
    try makeOther()
    let (own, here) = (
      try bundle("a.lmoe").bank("base").contentID, try bundle("other.lmoe").bank("base").contentID
    )
    let before = try tool.contents("other.lmoe")
    try expectRefusal(
      ["add", "other.lmoe", "x=a.lmoe#math"],
      "a.lmoe#math was trained on the base \(own), and this bundle's base is \(here); add it to a bundle of its own base, or accept this one with --allow-base-mismatch"
    )
    #expect(try tool.contents("other.lmoe") == before)
    let output = try tool.run("add", "other.lmoe", "x=a.lmoe#math", "--allow-base-mismatch")
    #expect(output.status == 0)
    #expect(
      output.err == "Note: a.lmoe#math was trained on another base; it is recorded as mismatched.\n")
    let inspected = try tool.run("inspect", "other.lmoe", "--json").json()
    let base = inspected["experts"]?.array?.first?["base"]
    #expect(base?["match"] == "mismatched" && base?["source_id"]?.string == "\(own)")
    #expect(base?["accepted_for"]?.string == "\(here)")
  }

  @Test func `a base of another name is noted`() throws {
    try makeOther()
    let (math, note) = (
      Tool.adapter("math"),
      "says it was trained on \"tiny-llama\"; this base came from \"tiny-llama-sharded\". "
        + "Names and shapes agree, so it was added as asserted."
    )
    let added = try tool.run("add", "other.lmoe", "x=\(math)")
    #expect(added.status == 0 && added.err == "Note: \(math) \(note)\n")
    let imported = try tool.run(
      "import", "--base", Self.sharded + "/", "--expert", "x=\(math)", "-o", "new.lmoe")
    #expect(imported.status == 0 && imported.err.hasSuffix("Note: \(math) \(note)\n"))
    // Names that differ in case, or in what stands before them, are the same.
    let manager = FileManager.default
    try manager.copyItem(atPath: Self.llama, toPath: tool.path("Tiny-LLaMA"))
    let output = try tool.run("import", "--base", "Tiny-LLaMA", "--expert", "x=\(math)", "-o", "case.lmoe")
    #expect(output.status == 0 && output.err == "")
  }

  @Test func `a base of a model that this tool does not know`() throws {
    let source = try bundle("a.lmoe")
    let base = try source.bank("base")
    let writer = try BundleWriter(creating: tool.path("unknown.lmoe"))
    try writer.addBank(
      "base", card: ["kind": "base", "source_id": .string("\(base.contentID)")],
      entries: try source.entriesToCopy(of: base).filter { $0.class == .tensor })
    try writer.commit(note: "test")
    try tool.succeed("add", "unknown.lmoe", "math=a.lmoe#math")
    #expect(try tool.run("add", "unknown.lmoe", "code=\(Tool.adapter("code"))").status == 3)
    try tool.succeed("verify", "unknown.lmoe", "--full", "--against-base", "a.lmoe")
  }

  @Test func `damage and locks`() throws {
    let entry = try #require(
      try bundle("a.lmoe").manifest(of: bundle("a.lmoe").bank("expert/math")).tensors.last)
    let chunk = try #require(entry.chunks.last)
    var bytes = try tool.contents("a.lmoe")
    bytes[Int(chunk.offset)] ^= 1
    try Data(bytes).write(to: URL(filePath: tool.path("a.lmoe")))
    let sentence =
      "a.lmoe: bank \"expert/math\", \"\(entry.name)\", offset \(chunk.offset): stored bytes are damaged; restore this bank from a copy"
    try expectRefusal(["add", "b.lmoe", "c=a.lmoe#code", "x=a.lmoe#math"], sentence)
    try expectRefusal(["export", "a.lmoe", "--to", "lmoe", "-o", "out.lmoe"], sentence)
    try tool.succeed("export", "a.lmoe", "--to", "lmoe", "--expert", "code", "-o", "out.lmoe")

    let file = try PosixFileSystem().open(tool.path("b.lmoe"), .update)
    #expect(try file.lockForWriting() == .taken)
    try expectRefusal(
      ["add", "b.lmoe", "c=a.lmoe#code"],
      "b.lmoe is being changed by another process; wait for it and run the command again")
    // Reading takes no lock.
    try tool.succeed("add", "out.lmoe", "v=b.lmoe#verse")
    file.unlock()
    try tool.succeed("add", "b.lmoe", "c=a.lmoe#code")
  }

  @Test func `a bundle without its base's weights, and back`() throws {
    let light = try tool.succeed(
      "export", "a.lmoe", "--to", "lmoe", "--no-base", "-o", "light.lmoe", "--json"
    ).json()
    #expect(light["schema"] == 1 && light["generation"] == 1 && light["path"] == "light.lmoe")
    #expect(light["banks"] == ["base", "expert/code", "expert/math", "gate/uniform"])
    #expect(light["file_bytes"]?.int == (try tool.contents("light.lmoe").count))
    try tool.succeed("verify", "light.lmoe", "--full")
    #expect(try tool.run("diff", "a.lmoe", "light.lmoe").out.contains("stored differently"))
    let outside =
      "light.lmoe: bank \"base\": the weights of this bank are not in the file; name the checkpoint or the bundle that has them with --base"
    try expectRefusal(["export", "light.lmoe", "--to", "hf", "-o", "hf"], outside)
    for (number, base) in [Self.llama, "a.lmoe", "b.lmoe"].enumerated() {
      let (hf, full) = ("hf\(number)", "full\(number).lmoe")
      #expect(
        try tool.succeed("export", "light.lmoe", "--to", "hf", "--base", base, "-o", hf).out
          == "\(hf): base, 6 files\n")
      #expect(try contents(ofDirectory: tool.path(hf)) == contents(ofDirectory: Self.llama))
      let output = try tool.succeed("export", "light.lmoe", "--to", "lmoe", "--base", base, "-o", full)
      #expect(output.out.hasPrefix("\(full): ") && output.out.hasSuffix(", base and 2 experts\n"))
      #expect(try tool.succeed("diff", "a.lmoe", full).out == "The bundles hold the same.\n")
      try tool.succeed("verify", full, "--full")
    }
    #expect(try bundle("full0.lmoe").history().map(\.root.note) == ["export from light.lmoe"])
    try makeOther()
    let remedy = "\"lmoe-tool verify light.lmoe --against-base other.lmoe\" lists all that differs"
    for (format, target) in [("hf", "out"), ("lmoe", "out.lmoe")] {
      try expectRefusal(
        ["export", "light.lmoe", "--to", format, "--base", "other.lmoe", "-o", target],
        "other.lmoe is not the base of light.lmoe: the tensor \"lm_head.weight\" is not in that base; \(remedy)"
      )
    }
    // It takes experts as any other bundle does.
    try tool.succeed("add", "light.lmoe", "verse=b.lmoe#verse")
  }

  @Test func `what export refuses and notes`() throws {
    try expectRefusal(
      ["export", "a.lmoe", "--to", "lmoe", "-o", "b.lmoe"],
      "b.lmoe already exists; choose another name or remove it")
    try expectRefusal(
      ["export", "a.lmoe", "--to", "lmoe", "--expert", "math", "--expert", "none", "-o", "out.lmoe"],
      "a.lmoe has no bank \"expert/none\"; did you mean \"expert/code\"?")
    let output = try tool.run("export", "a.lmoe", "--to", "lmoe", "--base", Self.llama, "-o", "out.lmoe")
    #expect(output.status == 0 && output.err == "Note: the base is in a.lmoe; \(Self.llama) is not needed.\n")
    for arguments in [
      "--to hf --no-base", "--to peft --expert math --base b.lmoe", "--to lmoe --base b.lmoe --no-base",
      "--to peft --expert math --expert code",
    ] {
      let output = try tool.run(
        ["export", "a.lmoe", "-o", "x"] + arguments.split(separator: " ").map(String.init))
      #expect(output.status == 64 && output.err.contains("Usage: lmoe-tool"), "\(arguments)")
    }
  }
}
