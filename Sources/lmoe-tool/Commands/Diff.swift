import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool diff`.
struct Diff: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what differs between two bundles.",
    discussion: "Compares hashes; reads no weights. Exit status 1 if they differ.")

  @Argument(help: "A bundle.", completion: .file(extensions: ["lmoe"]))
  var first: String

  @Argument(help: "Another.", completion: .file(extensions: ["lmoe"]))
  var second: String

  @OptionGroup var report: ReportOptions

  func run() throws {
    let difference = try BundleDifference(try Bundle(path: first), try Bundle(path: second))
    report.print([
      "schema": 1, "first": .string(first), "second": .string(second),
      "equal": .bool(difference.items.isEmpty),
      "differences": .array(
        difference.items.map {
          [
            "bank": .string($0.bank), "entry": $0.entry.map(JSON.string) ?? .null,
            "change": .string($0.change.rawValue),
          ]
        }),
    ]) {
      if difference.items.isEmpty { return Terminal.print("The bundles hold the same.") }
      var table = Table([("bank", .left), ("tensor or document", .left), ("change", .left)])
      for item in difference.items { table.add([item.bank, item.entry ?? "–", item.change.rawValue]) }
      for line in table.lines { Terminal.print(line) }
    }
    if !difference.items.isEmpty { throw ExitCode.failure }
  }
}
