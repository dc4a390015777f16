import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool merge`.
struct MergeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge",
    abstract: "Make one expert of several, or add them to the base's weights.",
    discussion: """
      Sources are PEFT directories and experts of bundles (FILE#EXPERT). No base is needed, but for DoRA. Or name \
      one bundle and its experts: merge FILE --expert math=0.7 --expert code=0.3 --as both.

      The deltas are merged, never their factors apart: linear is the true weighted sum. cat stacks factors, \
      linear factors the sum anew, svd takes its best part of a rank; slerp and karcher go by the angles between \
      deltas; ties, dare_linear, dare_ties, magnitude, breadcrumbs and della choose among the entries of each \
      delta, knots in the singular basis they share, and what comes out is brought to a rank again, unless it goes \
      into the base. What is lost by that is said for every module with --modules, and in all: the norm of what \
      was asked less what is stored, over the norm of what was asked.

      -o makes a PEFT directory; --as adds the expert to the bundle; --into-base makes a Hugging Face checkpoint \
      of the base with everything added in float32 and rounded once.
      """)

  @Argument(
    help: ArgumentHelp("PEFT directories and FILE#EXPERT; or a bundle.", valueName: "source"),
    completion: .file())
  var sources: [String]

  @Option(
    name: .long,
    help: ArgumentHelp(
      "An expert of the bundle, and its weight; any number of times (default: all).",
      valueName: "name[=weight]"),
    completion: Completions.experts)
  var expert: [WeightedName] = []

  @OptionGroup var options: MergeOptions

  @Option(name: .customLong("as"), help: "The name of the merged expert in the bundle.")
  var name: String?

  @Flag(name: .long, help: "With --as: take the experts that were merged out of the bundle.")
  var replace = false

  @Option(
    name: .long,
    help: "With --as: what learned gates know of it: mass gives it a row for its members' share, none no row."
  )
  var gate = MergedRowChoice.none

  @Flag(name: .long, help: "Add the sum to the base's weights, and write the model.")
  var intoBase = false

  @Option(
    name: .long,
    help: ArgumentHelp("The base, if the sources are not in one bundle with it.", valueName: "dir|file"))
  var base: String?

  @Option(name: .long, help: "For --into-base: exact rounds once, peft after every expert.")
  var rounding = BaseMerge.Rounding.exact

  @Option(name: .long, help: "How the merged factors are stored.")
  var dtype = MergedExpert.Precision.f32

  @Flag(name: .long, help: "Say for every module what is lost.")
  var modules = false

  @Flag(name: .long, help: "Merge experts of bases that differ, where names and shapes fit.")
  var allowBaseMismatch = false

  @Option(name: .shortAndLong, help: "The directory to make.", completion: .directory)
  var output: String?

  @OptionGroup var write: WriteOptions
  @OptionGroup var report: ReportOptions

  func validate() throws {
    if name == nil, output == nil {
      throw ValidationError("Say where to: -o DIR, or --as NAME for a bundle.")
    }
    if name != nil, output != nil { throw ValidationError("--as and --output cannot be used together.") }
    if intoBase, output == nil { throw ValidationError("--into-base needs -o DIR for the checkpoint.") }
    if intoBase, options.rank != nil || options.energy != nil {
      throw ValidationError("--into-base adds the whole sum: --rank and --energy go with an expert.")
    }
    if !intoBase, rounding != .exact { throw ValidationError("--rounding goes with --into-base.") }
    if name == nil, replace || gate != .none { throw ValidationError("--replace and --gate go with --as.") }
    if !expert.isEmpty, sources.count != 1 {
      throw ValidationError("--expert names experts of one bundle: name only that, or use FILE#EXPERT.")
    }
    if options.weights != nil, expert.contains(where: { $0.weight != nil }) {
      throw ValidationError("Give weights with --expert or with --weights, not with both.")
    }
  }

  func run() throws {
    let found = try MergeSources(self)
    let merge = try Merge(
      found.inputs, weights: found.weights, by: options.mergeMethod, rank: options.rankChoice,
      base: try found.needsBase || intoBase ? found.weights(of: base) : nil, isIntoBase: intoBase)
    if !allowBaseMismatch { try merge.requireOneBase() }
    if intoBase { return try writeModel(merge, found) }
    let progress = ProgressBar("merge", total: UInt64(merge.moduleCount))
    let seen = Guarded(0)
    let merged = try merge.run { done in
      progress.advance(
        UInt64(
          done
            - seen.withValue { last in
              let old = last; last = done; return old
            }))
    }
    progress.finish()
    if let name { return try add(merged, merge, name, found) }
    guard let output else { return }
    let files = try merged.write(
      to: output, precision: dtype, base: try found.bundle?.baseDescription())
    report.print(json(merged, merge, [("path", .string(output)), ("files", .array(files.map(JSON.string)))]))
    {
      let made = derived(merged, merge)
      for line in ["\(output.printable): \(made.sentence)"] + made.lines { Terminal.print(line) }
    }
  }

  private func writeModel(_ merge: Merge, _ found: MergeSources) throws {
    guard let output, let base = merge.baseWeights else { return }
    let model = try BaseMerge(merge, base: base, rounding: rounding)
    if model.unties {
      note(output, ["the head and the embedding of the tied base part, for one of them changes"])
    }
    let progress = ProgressBar("merge", total: model.byteCount)
    let files = try model.write(to: output) { progress.advance($0) }
    progress.finish()
    report.print([
      "schema": 1, "path": .string(output), "method": .string(options.method.rawValue),
      "weights": weightsJSON(merge), "modules": .integer(merge.moduleCount),
      "bytes": .integer(model.byteCount),
      "untied": .bool(model.unties), "files": .array(files.map(JSON.string)),
    ]) {
      Terminal.print(
        "\(output.printable): \(described(merge)) into \(grouped(merge.moduleCount)) modules of the base, "
          + "\(formatted(bytes: model.byteCount)), \(files.count) files")
    }
  }

  private func add(_ merged: MergedExpert, _ merge: Merge, _ name: String, _ found: MergeSources) throws {
    guard let bundle = found.bundle else {
      throw ValidationError(
        "--as adds to a bundle: name one as the only source, or write a directory with -o.")
    }
    let progress = ProgressBar("write", total: UInt64(merged.parameters) * 4)
    defer { progress.finish() }
    let writer = try BundleWriter(appendingTo: bundle.path, options: write.writerOptions(progress: progress))
    defer { writer.abort() }
    let change = try writer.addMerged(
      merged, of: merge, named: name, precision: dtype, rows: gate, replacesMembers: replace)
    let members = merge.inputs.map(\.label).joined(separator: ", ")
    let written = try writer.commit(note: "merge \(members) to expert/\(name)")
    progress.finish()
    let unaware = gate == .none ? noteUnawareGates(bundle.path, of: [name]) : []
    report.printChange(
      bundle.path, writer, written: written, "merged expert/\(name)",
      [("method", .string(options.method.rawValue)), ("weights", weightsJSON(merge))]
        + derived(merged, merge).facts + [("unaware_gates", unaware)],
      lines: ["  " + derived(merged, merge).sentence] + change.map { "  " + $0.printable }
        + derived(merged, merge).lines)
  }

  // MARK: What is printed

  private func described(_ merge: Merge) -> String {
    let terms = zip(merge.inputs, merge.weights).map { "\(shortest($1)) × \($0.label.printable)" }
    return "\(options.method.rawValue) of " + terms.joined(separator: " + ").replacingPlusMinus
  }

  private func derived(_ merged: MergedExpert, _ merge: Merge) -> DerivedReport {
    DerivedReport(merged, what: described(merge), showsModules: modules)
  }

  private func weightsJSON(_ merge: Merge) -> JSON {
    .array(
      zip(merge.inputs, merge.weights).map { input, weight in
        ["name": .string(input.label), "path": .string(input.path), "weight": .double(weight)]
      })
  }

  private func json(_ merged: MergedExpert, _ merge: Merge, _ facts: [(String, JSON)] = []) -> JSON {
    .object(
      [("schema", 1)] + facts + [
        ("method", .string(options.method.rawValue)), ("weights", weightsJSON(merge)),
      ] + derived(merged, merge).facts)
  }
}

extension String {
  /// `a + -b` as `a - b`.
  fileprivate var replacingPlusMinus: String { split(separator: " + -").joined(separator: " - ") }
}
