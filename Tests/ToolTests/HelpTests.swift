import Foundation
import Testing

/// The help texts of the tool and of every subcommand.
///
/// `LMOE_UPDATE_SNAPSHOTS=1` in the environment writes them anew.
@Suite struct HelpTests {
  static let snapshots = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Snapshots")

  /// The subcommands a help text lists.
  private static func subcommands(_ help: String) -> [String] {
    help.split(separator: "\n").drop { $0 != "SUBCOMMANDS:" }.dropFirst()
      .prefix { !$0.hasPrefix("  See ") }
      .filter { $0.hasPrefix("  ") && !$0.hasPrefix("   ") }
      .compactMap { $0.split(separator: " ").first.map(String.init) }
  }

  /// The help of a command and of all below it, by file name.
  private static func help(of command: [String], _ tool: Tool) throws -> [String: String] {
    let text = try tool.succeed(command: command + ["--help"]).out
    var result = [(["lmoe-tool"] + command).joined(separator: "-") + ".txt": text]
    for name in subcommands(text) { result.merge(try help(of: command + [name], tool)) { $1 } }
    return result
  }

  @Test func `help`() throws {
    let tool = try Tool()
    let found = try Self.help(of: [], tool)
    for name in [
      "import", "inspect", "verify", "add", "remove", "rename", "history", "restore", "compact", "export",
      "gate", "diff",
    ] {
      #expect(found["lmoe-tool-\(name).txt"] != nil, "\(name)")
    }
    let manager = FileManager.default
    if ProcessInfo.processInfo.environment["LMOE_UPDATE_SNAPSHOTS"] == "1" {
      for name in Self.known { try manager.removeItem(at: Self.snapshots.appending(path: name)) }
      for (name, text) in found {
        try Data(text.utf8).write(to: Self.snapshots.appending(path: name))
      }
    }
    #expect(
      Set(Self.known) == Set(found.keys),
      "run the tests again with LMOE_UPDATE_SNAPSHOTS=1, and read what changed"
    )
    for (name, text) in found {
      let old = (try? String(contentsOf: Self.snapshots.appending(path: name), encoding: .utf8)) ?? ""
      #expect(old == text, "\(name):\n\(Self.difference(old, text))")
      #expect(text.split(separator: "\n").allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") }, "\(name)")
    }
  }

  /// The snapshots of help texts; those of other outputs are beside them.
  private static var known: [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: snapshots.path)) ?? []
    return names.filter { $0.hasPrefix("lmoe-tool") }
  }

  /// Removed and added lines.
  static func difference(_ old: String, _ new: String) -> String {
    func lines(_ text: String) -> [Substring] {
      text.split(separator: "\n", omittingEmptySubsequences: false)
    }
    return lines(new).difference(from: lines(old)).map { change in
      switch change {
      case .remove(let offset, let line, _): "- \(offset + 1): \(line)"
      case .insert(let offset, let line, _): "+ \(offset + 1): \(line)"
      }
    }.joined(separator: "\n")
  }

  @Test func `version`() throws {
    let output = try Tool().succeed("--version").out
    #expect(output.split(separator: ".").count == 3 && output.hasSuffix("\n"))
  }
}

extension Tool {
  func succeed(command: [String]) throws -> Output {
    let output = try run(command)
    try #require(output.status == 0 && output.err == "", "\(command)")
    return output
  }
}
