import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// Commands that change or compare bundles.
@Suite(.timeLimit(.minutes(2))) struct ChangeTests {
  private let tool: Tool

  init() throws {
    tool = try Tool()
    try tool.makeBundle("a.lmoe")
  }

  private func bundle(_ name: String = "a.lmoe") throws -> Bundle { try Bundle(path: tool.path(name)) }

  private func copy(_ name: String = "b.lmoe") throws {
    try FileManager.default.copyItem(atPath: tool.path("a.lmoe"), toPath: tool.path(name))
  }

  @Test func `rename keeps the identity`() throws {
    let before = try bundle().bank("expert/math")
    try tool.succeed("rename", "a.lmoe", "math", "Mathematik 2")
    let after = try bundle().bank("expert/Mathematik 2")
    #expect(after.id == before.id && after.contentID == before.contentID && after.manifest == before.manifest)
    #expect(try bundle().root.bank("expert/math") == nil)
    // The name is free again, for another identity.
    try tool.succeed("add", "a.lmoe", "math=\(Tool.adapter("math"))")
    let again = try bundle().bank("expert/math")
    #expect(again.id != before.id && again.contentID == before.contentID)
    let tensors = try [again, after].map { try bundle().manifest(of: $0).tensors }
    #expect(tensors[0] == tensors[1], "their bytes are shared")
  }

  @Test func `diff names what differs`() throws {
    try copy()
    #expect(try tool.succeed("diff", "a.lmoe", "b.lmoe").out == "The bundles hold the same.\n")
    try tool.succeed("remove", "b.lmoe", "code")
    try tool.succeed("rename", "b.lmoe", "math", "maths")
    let output = try tool.run("diff", "a.lmoe", "b.lmoe", "--json")
    #expect(output.status == 1 && output.err == "")
    let json = try output.json()
    #expect(json["equal"] == false)
    #expect(
      json["differences"]?.array?.map { "\($0["bank"]?.string ?? "") \($0["change"]?.string ?? "")" } == [
        "expert/code only in first", "expert/math only in first", "expert/maths only in second",
      ])
    #expect(try tool.run("diff", "a.lmoe", "b.lmoe").out.contains("only in second"))
  }

  @Test func `compact drops what is dead and changes codecs`() throws {
    try tool.succeed("add", "a.lmoe", "verse=\(Tool.adapter("verse"))")
    try tool.succeed("remove", "a.lmoe", "code")
    try copy()
    let before = try bundle()
    try tool.succeed("compact", "a.lmoe")
    let after = try bundle()
    #expect(after.fileBytes < before.fileBytes && after.generation == before.generation + 1)
    #expect(after.banks.map(\.id) == before.banks.map(\.id))
    #expect(after.banks.map(\.contentID) == before.banks.map(\.contentID))
    #expect(try after.history().count == 1)
    try tool.succeed("diff", "a.lmoe", "b.lmoe")

    try tool.succeed("compact", "b.lmoe", "--codec", "raw", "-o", "raw.lmoe")
    #expect(try bundle("raw.lmoe").banks.allSatisfy(\.isRaw))
    #expect(try bundle("b.lmoe").generation == before.generation, "the original is left alone")
    #expect(try tool.run("diff", "raw.lmoe", "b.lmoe").out.contains("stored differently"))
    try tool.succeed("compact", "raw.lmoe", "--codec", "planes")
    try tool.succeed("diff", "raw.lmoe", "b.lmoe")

    try tool.succeed("compact", "b.lmoe", "--keep-history")
    #expect(
      try bundle("b.lmoe").history().map(\.root.note) == [
        "compact", "remove expert/code", "add expert/verse", "import tiny-llama",
      ])
    try tool.succeed("restore", "b.lmoe", "--generation", "2")
    #expect(try bundle("b.lmoe").root.bank("expert/code") != nil)
    try tool.succeed("verify", "b.lmoe", "--full")
    #expect(try tool.names() == ["a.lmoe", "b.lmoe", "raw.lmoe"])
  }

  @Test func `through a symbolic link`() throws {
    let manager = FileManager.default
    try manager.createDirectory(atPath: tool.path("elsewhere"), withIntermediateDirectories: false)
    try copy("elsewhere/real.lmoe")
    try manager.createSymbolicLink(atPath: tool.path("link.lmoe"), withDestinationPath: "elsewhere/real.lmoe")
    func expectLink() throws {
      #expect(try manager.destinationOfSymbolicLink(atPath: tool.path("link.lmoe")) == "elsewhere/real.lmoe")
      #expect(try manager.contentsOfDirectory(atPath: tool.path("elsewhere")) == ["real.lmoe"])
    }
    try tool.succeed("remove", "link.lmoe", "code")
    try expectLink()
    try tool.succeed("compact", "link.lmoe")
    try expectLink()
    #expect(try bundle("elsewhere/real.lmoe").generation == 3)
    let refused = try tool.run("import", "--base", "\(Tool.fixtures)/tiny-llama", "-o", "link.lmoe")
    #expect(
      refused.status == 3
        && refused.err == "Error: link.lmoe already exists; choose another name or remove it\n")
    try tool.makeBundle("link.lmoe", experts: [], "--force")
    try expectLink()
    #expect(try bundle("elsewhere/real.lmoe").generation == 1)
  }

  @Test func `verify names what is damaged`() throws {
    let bank = try bundle().bank("expert/math")
    let entry = try #require(try bundle().manifest(of: bank).tensors.dropFirst(3).first)
    let chunk = try #require(entry.chunks.first)
    var bytes = try tool.contents("a.lmoe")
    bytes[Int(chunk.offset) + chunk.storedLength - 1] ^= 0x20
    try Data(bytes).write(to: URL(filePath: tool.path("a.lmoe")))
    for options in [[], ["--full"]] {
      let output = try tool.run(["verify", "a.lmoe", "--json"] + options)
      #expect(output.status == 1 && output.err == "")
      let json = try output.json()
      #expect(json["ok"] == false && json["damage"]?.array?.count == 1)
      let damage = try #require(json["damage"]?.array?.first)
      #expect(damage["code"] == "chunk-damaged" && damage["bank"] == "expert/math")
      #expect(damage["tensor"]?.string == entry.name && damage["offset"]?.int == Int(chunk.offset))
    }
    let sentence =
      "a.lmoe: bank \"expert/math\", \"\(entry.name)\", offset \(chunk.offset): stored bytes are damaged; restore this bank from a copy"
    let text = try tool.run("verify", "a.lmoe")
    #expect(text.status == 1 && text.out == sentence + "\n" && text.err == "")
    // Whoever needs these bytes is told; whoever does not, goes on.
    let export = try tool.run("export", "a.lmoe", "--to", "peft", "--expert", "math", "-o", "out")
    #expect(export.status == 3 && export.err == "Error: \(sentence)\n")
    #expect(try tool.names() == ["a.lmoe"])
    try tool.succeed("export", "a.lmoe", "--to", "peft", "--expert", "code", "-o", "out")
    #expect(try tool.run("compact", "a.lmoe").status == 3)
    #expect(try tool.contents("a.lmoe") == bytes)
  }
}
