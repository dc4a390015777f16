import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool gate`.
struct GateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gate", abstract: "Make, show and drop gates: what decides how much each expert counts.",
    discussion: """
      A bundle may have several gates. Where none is named, the only one is meant, or else the one called \
      "default". A gate knows experts by their identity, not by their names: it keeps up with "rename" and \
      "remove", and gives an expert that came after it the weight 0, until it is made anew or trained. The \
      uniform gate has nothing to learn and covers every expert, those to come too.
      """,
    subcommands: [GateInit.self, GateShow.self, GateDrop.self])
}

/// The command `lmoe-tool gate show`.
struct GateShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show gates: what they look at, whom they know, how they weigh.")

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Argument(help: "The gate's name (default: all).", completion: Completions.gates)
  var name: String?

  @OptionGroup var read: ReadOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    let bundle = try Bundle(path: file, options: read.bundleOptions)
    let gates: [GateDetails]
    if let name {
      // Whoever asks for a gate is told why it cannot be used; among all of them it is shown.
      let stored = try bundle.gate(named: name)
      gates = [try GateDetails(stored, norms: GateNorms(stored))]
    } else {
      gates = try bundle.banks(ofKind: "gate").map { try GateDetails($0, in: bundle, readsRows: true) }
    }
    let meant = try? bundle.defaultGate()?.bank.id
    report.print([
      "schema": 1, "path": .string(file), "generation": .integer(bundle.generation),
      "default": gates.first { $0.bank.id == meant }.map { .string($0.bank.shortName) } ?? .null,
      "gates": .array(gates.map(\.fullJSON)),
    ]) {
      if gates.isEmpty {
        Terminal.print("\(file.printable) has no gates; \"lmoe-tool gate init\" makes one")
      }
      for (index, gate) in gates.enumerated() {
        if index > 0 { Terminal.print() }
        for line in gate.lines { Terminal.print(line) }
      }
    }
  }
}

/// The command `lmoe-tool gate drop`.
struct GateDrop: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drop", abstract: "Take a gate out of a bundle.",
    discussion: "The bytes stay in the file, for \"restore\", until \"compact\".")

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Argument(help: "The gate's name.", completion: Completions.gates)
  var name: String

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    let writer = try BundleWriter(appendingTo: file, options: write.writerOptions())
    try writer.removeBank("gate/" + name)
    let written = try writer.commit(note: "drop gate/" + name)
    report.printChange(file, writer, written: written, "dropped gate/\(name)")
  }
}
