import ArgumentParser
import LMoECore
import LMoEFormat

/// The command `lmoe-tool history`.
struct History: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history",
    abstract: "List the generations of a bundle that can be restored.")

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @OptionGroup var read: ReadOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    let bundle = try Bundle(path: file, options: read.bundleOptions)
    let history = try bundle.history()
    report.print([
      "schema": 1, "path": .string(file), "generation": .integer(bundle.generation),
      "generations": Self.json(history),
    ]) {
      for line in Self.table(history).lines { Terminal.print(line) }
    }
  }

  static func json(_ history: [Bundle.Generation]) -> JSON {
    .array(
      history.map {
        [
          "generation": .integer($0.root.generation), "commit_ns": .integer($0.root.commitNanoseconds),
          "note": .string($0.root.note), "banks": .array($0.root.banks.map { .string($0.name) }),
        ]
      })
  }

  static func table(_ history: [Bundle.Generation]) -> Table {
    var table = Table([
      ("generation", .right), ("time (UTC)", .left), ("experts", .right), ("what", .left),
    ])
    for generation in history {
      table.add([
        "\(generation.root.generation)", formatted(nanoseconds: generation.root.commitNanoseconds),
        "\(generation.root.banks.count { $0.kind == "expert" })", generation.root.note,
      ])
    }
    return table
  }
}

/// The command `lmoe-tool restore`.
struct Restore: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Make an older generation current again.",
    discussion: """
      The restored state is a new generation; nothing is lost. Also settles which of two generations stands \
      after a superblock was lost.
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(name: .long, help: "The generation to restore.")
  var generation: UInt64

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    let current = try BundleWriter.restore(
      file, generation: generation, options: write.writerOptions())
    report.print([
      "schema": 1, "path": .string(file), "generation": .integer(current),
      "restored": .integer(generation),
    ]) {
      Terminal.print("\(file.printable): restored generation \(generation), now generation \(current)")
    }
  }
}
