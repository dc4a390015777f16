import ArgumentParser
import LMoECore

/// The command line: one bundle for a base model, its LoRA experts and their gate.
@main struct LMoETool: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lmoe-tool",
    abstract: "One file for a base model, its LoRA experts and their gate.",
    discussion: """
      A bundle (.lmoe) holds the base weights of a language model, named LoRA experts and the parameters of \
      a gate, each byte checked. Exit status: 0 done, 1 the check failed, 3 input corrupt or refused, \
      64 usage, 74 input/output, 130 interrupted.
      """,
    version: "0.1.0",
    subcommands: [
      Import.self, Inspect.self, Verify.self, Add.self, Remove.self, Rename.self, History.self,
      Restore.self, Compact.self, Export.self, Diff.self, Bench.self,
    ])

  static func main() {
    Signals.install()
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      exit(reporting: error)
    }
  }
}
