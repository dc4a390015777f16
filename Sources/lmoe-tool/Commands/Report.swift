import ArgumentParser
import LMoECore
import LMoERuntime

/// The command `lmoe-tool report`.
struct Report: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Write a page about a training run.",
    discussion: """
      Reads the metrics that training writes beside a bundle, FILE.metrics.jsonl, also while it goes on, and \
      writes one HTML file that needs nothing else: loss, learning rates, evaluations by kind of text, the use \
      of the experts, and what the gate makes of each kind of text in each layer, before and after.
      """)

  @Argument(
    help: "The bundle that is trained, or its metrics file.",
    completion: .file(extensions: ["lmoe", "jsonl"]))
  var file: String

  @Option(
    name: .shortAndLong, help: "Where the page goes; FILE.report.html if not given.",
    completion: .file(extensions: ["html"]))
  var output: String?

  @Option(
    name: .customLong("metrics"),
    help: ArgumentHelp("The metrics file, if it is not beside the bundle.", valueName: "path"),
    completion: .file(extensions: ["jsonl"]))
  var metricsPath: String?

  func run() throws {
    let path = metricsPath ?? Self.metricsPath(of: file)
    let metrics = try TrainingMetrics(path: path, bytes: try Self.read(path))
    let target = output ?? file + ".report.html"
    let html = Array(ReportPage(metrics).html().utf8)
    try writeAtomically(target, in: PosixFileSystem(), failure: { $0 }) { (file) throws(FileError) in
      try file.write(html, at: 0)
    }
    let steps = metrics.steps.count
    Terminal.print(
      "\(target.printable): \(grouped(steps)) step\(steps == 1 ? "" : "s") and "
        + "\(grouped(metrics.evaluations.count)) evaluation\(metrics.evaluations.count == 1 ? "" : "s"), "
        + formatted(bytes: html.count))
  }

  /// The metrics of a bundle, or the file itself where it is no bundle.
  private static func metricsPath(of file: String) -> String {
    file.hasSuffix(".jsonl") ? file : TrainingMetrics.path(ofBundle: file)
  }

  private static func read(_ path: String) throws -> [UInt8] {
    do throws(FileError) { return try readWhole(path) } catch {
      guard error.isNotFound else { throw error }
      throw RuntimeError(
        .invalidData, path: path,
        found: "there is no such file; \"lmoe-tool train\" writes it, or name another with --metrics")
    }
  }
}
