import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// `prune --ranks` and `prune --entries`.
struct WeightPruningRun {
  private let command: Prune

  /// What became of an expert.
  private struct Done {
    let input: MergeInput
    let pruned: PrunedExpert
  }

  init(_ command: Prune) { self.command = command }

  func run() throws {
    if PosixFileSystem().kind(command.file) == .directory { return try runDirectory() }
    let bundle = try Bundle(path: command.file, options: command.options.read.bundleOptions)
    let experts = try Self.names(command.weights.expert, in: bundle).map { try StoredExpert($0, in: bundle) }
    let done = try prune(experts.map { try MergeInput($0) })
    let changed = zip(experts, done).filter { $0.1.pruned.isChanged }
    guard !command.dryRun, !changed.isEmpty || command.output != nil else {
      return command.report.print(
        json(done, [("path", .string(command.file)), ("dry_run", .bool(command.dryRun))])
      ) {
        for line in lines(done) { Terminal.print(line) }
        Terminal.print(
          command.dryRun ? "Nothing was changed." : "Nothing was to be pruned; the bundle is as it was.")
      }
    }
    let names = changed.map(\.0.bank.shortName)
    let change = try BundleChange(
      command.file, output: command.output, without: names, known: bundle, command.write.writerOptions())
    defer { change.writer.abort() }
    for (expert, item) in changed { try change.writer.prune(expert, to: item.pruned) }
    let what = "pruned " + names.map { "expert/\($0)" }.joined(separator: ", ")
    let written = try change.writer.commit(note: "prune" + what.dropFirst(6))
    command.report.printChange(
      command.output ?? command.file, change.writer, written: written, what, facts(done),
      lines: lines(done))
  }

  private func runDirectory() throws {
    guard command.weights.expert.isEmpty else {
      throw ValidationError("--expert names experts of a bundle, and \(command.file) is a directory.")
    }
    let adapter = try PEFTAdapter(path: command.file)
    let input = try MergeInput(adapter)
    if !command.dryRun, command.output == nil { throw ValidationError("Say where to: -o DIR.") }
    let done = try prune([input])
    var files: [String] = []
    if !command.dryRun, let output = command.output {
      files = try done[0].pruned.write(of: adapter, to: output)
    }
    let path = command.dryRun ? command.file : command.output ?? command.file
    command.report.print(
      json(done, [("path", .string(path)), ("files", .array(files.map(JSON.string)))])
    ) {
      for line in lines(done) { Terminal.print(line) }
      Terminal.print(
        command.dryRun ? "Nothing was written." : "\(path.printable): \(files.count) files written")
    }
  }

  /// The names given, or all.
  static func names(_ given: [String], in bundle: Bundle) throws -> [String] {
    let all = bundle.banks(ofKind: "expert").map(\.shortName)
    guard !all.isEmpty else { throw ExpertError(.noExperts, path: bundle.path) }
    for name in given { _ = try bundle.bank("expert/" + name) }
    return given.isEmpty ? all : all.filter { name in given.contains { $0.hasSameBytes(as: name) } }
  }

  private func prune(_ inputs: [MergeInput]) throws -> [Done] {
    let plans = try inputs.map { try WeightPruning($0, to: command.weights.rule) }
    let progress = ProgressBar("prune", total: UInt64(plans.reduce(0) { $0 + $1.moduleCount }))
    defer { progress.finish() }
    return try plans.map { plan in
      let seen = Guarded(0)
      let pruned = try plan.run(on: command.options.pool) { done in
        let new = seen.withValue { last in
          defer { last = done }
          return done - last
        }
        progress.advance(UInt64(new))
      }
      note(plan.input.path, pruned.notes(of: plan.input))
      return Done(input: plan.input, pruned: pruned)
    }
  }

  // MARK: What is printed

  private func lines(_ done: [Done]) -> [String] {
    var table = Table([
      ("expert", .left), ("ranks", .right), ("parameters", .right), ("left", .right),
      ("‖ΔW − pruned‖ / ‖ΔW‖", .right),
    ])
    for item in done {
      let (ranks, count) = (item.pruned.ranks, item.pruned.parameters)
      table.add([
        item.input.label,
        ranks.count == 1 ? "\(ranks.lowerBound)" : "\(ranks.lowerBound)–\(ranks.upperBound)",
        grouped(count.before), grouped(count.after), significant(item.pruned.error),
      ])
    }
    guard command.modules else { return table.lines }
    var list = Table(
      [("module", .left), ("rank", .right), ("was", .right), ("‖ΔW‖", .right), ("lost", .right)], isList: true
    )
    for item in done {
      for module in item.pruned.modules {
        list.add([
          done.count > 1 ? "\(item.input.label): \(module.name)" : module.name, "\(module.rank)",
          "\(module.oldRank)", significant(module.norm), significant(module.error),
        ])
      }
    }
    return table.lines + list.lines
  }

  private func facts(_ done: [Done]) -> [(String, JSON)] {
    [
      (
        "experts",
        .array(
          done.map { item in
            [
              "name": .string(item.input.label), "error": .double(item.pruned.error),
              "parameters": [
                "before": .integer(item.pruned.parameters.before),
                "after": .integer(item.pruned.parameters.after),
              ],
              "modules": .array(
                item.pruned.modules.map {
                  [
                    "name": .string($0.name), "rank": .integer($0.rank), "rank_before": .integer($0.oldRank),
                    "norm": .double($0.norm), "error": .double($0.error),
                  ]
                }),
            ]
          })
      )
    ]
  }

  private func json(_ done: [Done], _ first: [(String, JSON)]) -> JSON {
    .object([("schema", 1)] + first + facts(done))
  }
}
