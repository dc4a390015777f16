import ArgumentParser
import LMoECore

/// The command line: one bundle for a base model, its LoRA experts and their gate.
///
/// Each command states its name, also where it is the type's: to derive them all takes a third of the time of a start.
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
      Restore.self, Compact.self, Export.self, MergeCommand.self, Prune.self, Quantize.self, Extract.self,
      Resize.self, Fit.self, GateCommand.self, Diff.self, Train.self, Generate.self,
      Eval.self,
      LogitsCommand.self,
      Tokenize.self, Report.self, Bench.self,
    ])

  static func main() {
    Signals.install()
    refuseUnknownCommand()
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      exit(reporting: error)
    }
  }

  /// Says which command was probably meant; the parser would only call it an unexpected argument.
  private static func refuseUnknownCommand() {
    guard let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-") else { return }
    let commands = configuration.subcommands.map { $0._commandName } + ["help"]
    guard !commands.contains(word) else { return }
    let meant = closestName(to: word, among: commands).map { "; did you mean \"\($0)\"?" } ?? ""
    Terminal.complain("Error: there is no command \"\(word.printable)\"\(meant)")
    Terminal.complain("See \"lmoe-tool --help\" for all of them.")
    exit(withError: ExitCode(64))
  }
}
