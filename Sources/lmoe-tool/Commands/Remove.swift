import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool remove`.
struct Remove: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove",
    abstract: "Remove experts from a bundle.",
    discussion: "The bytes stay in the file, for \"restore\", until \"compact\".")

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Argument(help: "The experts' names.", completion: Completions.experts)
  var names: [String]

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    let writer = try BundleWriter(appendingTo: file, options: write.writerOptions())
    let changes = try writer.removeExperts(names)
    let banks = names.map { "expert/" + $0 }.joined(separator: ", ")
    let written = try writer.commit(note: "remove " + banks)
    report.printChange(
      file, writer, written: written, "removed \(banks)", [("gates", .array(changes.map(\.json)))],
      lines: changes.map { "  " + $0.description.printable })
  }
}

/// The command `lmoe-tool rename`.
struct Rename: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rename",
    abstract: "Give an expert another name; it keeps its identity.")

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Argument(help: "The expert's name.", completion: Completions.experts)
  var name: String

  @Argument(help: "Its new name.")
  var newName: String

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    try requireExpertName(newName)
    let writer = try BundleWriter(appendingTo: file, options: write.writerOptions())
    try writer.renameBank("expert/" + name, to: "expert/" + newName)
    let written = try writer.commit(note: "rename expert/\(name) to expert/\(newName)")
    report.printChange(file, writer, written: written, "renamed expert/\(name) to expert/\(newName)")
  }
}

extension GateChange {
  /// As `--json` has it.
  var json: JSON {
    [
      "gate": .string(gate), "rows": .integer(rowCount), "members": .integer(memberCount),
      "weights": .integer(weightCount), "deserted": .bool(isDeserted),
    ]
  }
}
