import LMoECore
import LMoEExperts

/// What is printed of an expert that was computed.
struct DerivedReport {
  private let expert: MergedExpert
  private let what: String
  private let showsModules: Bool

  /// - Parameter what: What it is, as the sentence begins.
  init(_ expert: MergedExpert, what: String, showsModules: Bool) {
    (self.expert, self.what, self.showsModules) = (expert, what, showsModules)
  }

  /// One line.
  var sentence: String {
    let ranks = expert.ranks
    let rank =
      ranks.count == 1 ? "rank \(ranks.lowerBound)" : "ranks \(ranks.lowerBound) to \(ranks.upperBound)"
    let count = expert.modules.count
    return "\(what.printable), \(grouped(count)) module\(count == 1 ? "" : "s") of \(rank), norm "
      + "\(significant(expert.norm)); ‖ΔW − stored‖ / ‖ΔW‖ = \(significant(expert.error))"
  }

  /// The table of modules, if it was asked for.
  var lines: [String] {
    guard showsModules else { return [] }
    var table = Table(
      [("module", .left), ("rank", .right), ("‖ΔW‖", .right), ("lost", .right)], isList: true)
    for module in expert.modules {
      table.add([module.name, "\(module.product.rank)", significant(module.norm), significant(module.error)])
    }
    return table.lines
  }

  /// What `--json` says.
  var facts: [(String, JSON)] {
    [
      ("norm", .double(expert.norm)), ("error", .double(expert.error)),
      ("parameters", .integer(expert.parameters)),
      (
        "modules",
        .array(
          expert.modules.map {
            [
              "name": .string($0.name), "rank": .integer($0.product.rank), "norm": .double($0.norm),
              "error": .double($0.error),
            ]
          })
      ),
    ]
  }
}
