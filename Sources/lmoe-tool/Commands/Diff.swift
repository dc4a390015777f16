import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool diff`.
struct Diff: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract: "Say what differs between two bundles, or how like two experts are.",
    discussion: """
      Of two bundles hashes are compared, and no weights are read. Exit status 1 if they differ.

      Of two experts (PEFT directories, FILE#EXPERT) the deltas are compared: for every module their norms, the \
      cosine between them, and the norm of their difference over the larger of the two.
      """)

  @Argument(help: "A bundle, or an expert.", completion: .file())
  var first: String

  @Argument(help: "Another.", completion: .file())
  var second: String

  @Option(name: .long, help: ArgumentHelp("The base, for experts with DoRA.", valueName: "dir|file"))
  var base: String?

  @OptionGroup var report: ReportOptions

  func run() throws {
    let system = PosixFileSystem()
    for path in [first, second] where system.kind(path) == nil && !path.utf8.contains(UInt8(ascii: "#")) {
      throw FileError(.open, path: path, code: 2)
    }
    guard system.kind(first) == .file, system.kind(second) == .file else { return try compareExperts() }
    if base != nil { throw ValidationError("--base goes with experts.") }
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

  private func compareExperts() throws {
    let weights = try base.map { try MergeSources.open($0) }
    let inputs = try [first, second].map { try MergeSources.input($0, base: weights) }
    let found = try DeltaComparison(inputs[0], inputs[1], base: weights)
    func json(_ module: DeltaComparison.Module) -> JSON {
      [
        "name": .string(module.name), "first": module.first.map(JSON.double) ?? .null,
        "second": module.second.map(JSON.double) ?? .null, "cosine": module.cosine.map(JSON.double) ?? .null,
        "distance": .double(module.distance),
      ]
    }
    report.print([
      "schema": 1, "first": .string(first), "second": .string(second), "total": json(found.total),
      "modules": .array(found.modules.map(json)),
    ]) {
      var table = Table(
        [("module", .left), ("‖δ₁‖", .right), ("‖δ₂‖", .right), ("cosine", .right), ("distance", .right)],
        isList: true)
      for module in found.modules + [found.total] {
        table.add(
          [
            module.name, module.first.map(significant) ?? "–", module.second.map(significant) ?? "–",
            module.cosine.map { formatted($0, digits: 4) } ?? "–",
            significant(module.distance / largest(module)),
          ])
      }
      for line in table.lines { Terminal.print(line) }
    }
  }

  private func largest(_ module: DeltaComparison.Module) -> Double {
    let size = max(module.first ?? 0, module.second ?? 0)
    return size > 0 ? size : 1
  }
}
