import ArgumentParser
import LMoECore
import LMoEExperts
import LMoERuntime

/// The command `lmoe-tool train`.
struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Train the gate, the experts or both on texts.",
    discussion: """
      Learns to predict the next token of the texts, as every language model does; the base stays as it is. \
      Without a gate of its own to train, the bundle gets a linear one for each layer.

      The state of the run is kept in FILE.train, the course of it in FILE.metrics.jsonl (see "lmoe-tool report"). \
      After Ctrl-C, a crash or a power cut, "lmoe-tool train FILE --resume" goes on with the same options as if \
      nothing had happened; options given with it take the place of those from before, and lists are added to. The bundle itself is \
      changed once, at the end, in one generation.
      """)

  enum Part: String, CaseIterable, ExpressibleByArgument { case gate, experts, both }

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Option(name: .long, help: "What is trained.")
  var train = Part.both

  @OptionGroup(title: "Experts and gate") var target: TrainingTargetOptions
  @OptionGroup(title: "Texts") var texts: TrainingTextOptions
  @OptionGroup(title: "Learning") var learning: LearningOptions
  @OptionGroup(title: "The run") var course: TrainingCourseOptions
  @OptionGroup var options: RunOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if course.resume { return }
    if texts.data.isEmpty {
      throw ValidationError("Say what to learn from: --data PATH, or --data NAME=PATH.")
    }
    if learning.patience != nil, texts.evalData.isEmpty {
      throw ValidationError("--patience goes with --eval-data.")
    }
    if train != .experts, target.alone || target.uniform {
      throw ValidationError("--alone and --uniform train experts without a gate: give --train experts.")
    }
    if train == .gate, !target.expert.isEmpty || !target.newExpert.isEmpty {
      throw ValidationError(
        "--expert and --new-expert name experts to be trained, and --train gate trains none.")
    }
  }

  func run() throws {
    let session = course.resume ? try TrainingSession(resuming: self) : try TrainingSession(self)
    try session.perform()
  }

  /// The words after the command, from which the same run can be made again.
  static var words: [String] {
    let words = CommandLine.arguments.drop { $0 != "train" }.dropFirst()
    return words.filter { $0 != "--resume" }
  }
}
