import ArgumentParser
private import CLMoEKernels
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

extension ExitCode {
  /// The input is corrupt, incompatible or refused.
  static let refused = ExitCode(3)
  /// Input or output failed.
  static let inputOutput = ExitCode(74)
}

/// What happens on signals.
enum Signals {
  /// An interrupted command removes its temporary files; an I/O error under a memory map ends in a sentence.
  static func install() {
    TemporaryFiles.removeOnSignals()
    unsafe lmoe_exit_on_sigbus(
      "Error: an input/output error or a shrunken file under a memory map; run \"lmoe-tool verify\" on it\n",
      ExitCode.inputOutput.rawValue)
  }
}

extension ParsableCommand {
  /// Says what went wrong, in one sentence on stderr, and ends with the status that fits.
  static func exit(reporting error: any Error) -> Never {
    let status: ExitCode
    switch error {
    case let error as FormatError:
      status = error.code == .io || error.code == .commitUncertain ? .inputOutput : .refused
    case let error as TrainingStateError: status = error.isInputOutput ? .inputOutput : .refused
    case is FileError: status = .inputOutput
    case is ExpertError, is RuntimeError, is TokenizerError, is TemplateError: status = .refused
    default: exit(withError: error)
    }
    Terminal.complain("Error: \(error)")
    exit(withError: status)
  }
}
