import ArgumentParser

/// Options that say what a run leaves on disk, and when.
struct TrainingCourseOptions: ParsableArguments {
  enum Publishing: String, CaseIterable, ExpressibleByArgument { case end, best }

  @Option(
    name: .shortAndLong, help: "A new bundle for what was trained; FILE then stays as it is.",
    completion: .file(extensions: ["lmoe"]))
  var output: String?

  @Flag(name: .long, help: "Go on with the run that was interrupted.")
  var resume = false

  @Flag(name: .long, help: "Begin anew, and forget a run that was interrupted.")
  var restart = false

  @Option(name: .long, help: "Steps between two savings of the state.")
  var saveEvery = 100

  @Option(name: .long, help: "Steps between two evaluations; a tenth of --steps, or 100, if not given.")
  var evalEvery: Int?

  @Option(name: .long, help: "When the bundle gets what was trained: at the end, or at each best evaluation.")
  var publish = Publishing.end

  @Flag(name: .long, help: "Keep the state at the end.")
  var keepState = false

  @OptionGroup var write: WriteOptions

  func validate() throws {
    if saveEvery < 1 || (evalEvery ?? 1) < 1 {
      throw ValidationError("--save-every and --eval-every are at least 1.")
    }
    if resume, restart { throw ValidationError("Give one of --resume and --restart.") }
  }
}
