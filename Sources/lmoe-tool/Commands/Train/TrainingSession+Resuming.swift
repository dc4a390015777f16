import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

extension TrainingSession {
  /// Opens the state of an interrupted run.
  ///
  /// - Throws: `RuntimeError` with `untrainable` where there is none; `TrainingStateError`.
  static func interrupted(_ path: String) throws -> TrainingState {
    guard PosixFileSystem().kind(path) != nil else {
      throw RuntimeError(
        .untrainable, path: path,
        found: "there is no interrupted run to go on with; begin one with --data and without --resume")
    }
    return try TrainingState(path: path)
  }

  /// Makes sure that the experts which take part in a run can be found.
  ///
  /// - Throws: `RuntimeError` with `untrainable` that names one that cannot.
  static func requireMembers(_ names: [String]?, in bundle: Bundle, state: String) throws {
    for name in names ?? [] where bundle.root.bank("expert/" + name) == nil {
      throw RuntimeError(
        .untrainable, path: state,
        found:
          "the expert \(name.printable) takes part in the run, and \(bundle.path.printable) has none of that name "
          + "now; rename it back or restore it, or begin anew with --restart")
    }
  }
}
