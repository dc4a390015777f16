import LMoERuntime

/// Where a run keeps what.
struct TrainingFiles {
  let state: String
  let metrics: String

  init(_ command: Train) {
    let bundle = command.course.output ?? command.file
    state = command.file + ".train"
    metrics = TrainingMetrics.path(ofBundle: bundle)
  }
}
