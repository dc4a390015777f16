import LMoECore
import LMoEExperts

/// What `prune --experts` found, as text and as JSON.
struct ExpertPruningReport {
  let candidates: [ExpertReduction.Candidate]
  let statistics: ExpertStatistics?
  let similarity: ExpertSimilarity?
  let reduction: ExpertReduction
  /// The gate that was looked at.
  let gate: String?

  /// What was done, or would be.
  var change: String {
    let leaving = reduction.leaving.map { candidates[$0].name }
    let groups = reduction.clusters.map { cluster in
      cluster.members.map { candidates[$0].name }.joined(separator: " and ")
    }
    return
      ((leaving.isEmpty ? [] : ["removed " + leaving.joined(separator: ", ")])
      + groups.map { "merged " + $0 }).joined(separator: "; ")
  }

  /// The same of what was not done.
  var sentence: String { "It would have " + change + "." }

  /// The table, and where experts were compared the matrix.
  var lines: [String] {
    var columns: [(String, Table.Alignment)] = [("expert", .left)]
    if statistics != nil { columns += [("use", .right), ("saliency", .right)] }
    if similarity != nil { columns += [("nearest", .left), ("cosine", .right)] }
    let hasLosses = statistics?.experts.contains { $0.lossChange != nil } ?? false
    if hasLosses { columns.append(("nats if dropped", .right)) }
    columns.append(("", .left))
    var table = Table(columns.map { (title: $0.0, alignment: $0.1) })
    for (index, candidate) in candidates.enumerated() {
      var cells = [candidate.name]
      let own = statistics?[candidate.id]
      if statistics != nil {
        cells += [
          own.map { $0.takesPart ? formatted(100 * $0.use, digits: 1) + " %" : "unaware" } ?? "–",
          own.map { significant($0.saliency) } ?? "–",
        ]
      }
      if let similarity {
        let nearest = similarity.nearest(to: index)
        cells += [
          nearest.map { candidates[$0.index].name } ?? "–",
          nearest.map { formatted($0.cosine, digits: 3) } ?? "–",
        ]
      }
      if hasLosses {
        cells.append(own?.lossChange.map { ($0 < 0 ? "" : "+") + formatted($0, digits: 4) } ?? "–")
      }
      cells.append(fate(of: index))
      table.add(cells)
    }
    if let use = statistics?.nullUse {
      let rest = [String](repeating: "", count: columns.count - 3)
      table.add(["(the bare base)", formatted(100 * use, digits: 1) + " %"] + [""] + rest)
    }
    return table.lines + matrix
  }

  private func fate(of index: Int) -> String {
    if reduction.leaving.contains(index) { return "leaves" }
    if let place = reduction.clusters.firstIndex(where: { $0.members.contains(index) }) {
      return reduction.clusters.count == 1 ? "merged" : "merged (\(place + 1))"
    }
    return candidates[index].stays ? "always on" : ""
  }

  /// The cosines of all pairs, for so many experts as fit a terminal.
  private var matrix: [String] {
    guard let similarity, candidates.count > 2, candidates.count <= 12 else { return [] }
    var table = Table(
      [(title: "cosine", alignment: Table.Alignment.left)]
        + candidates.map { (title: $0.name, alignment: Table.Alignment.right) })
    for (index, candidate) in candidates.enumerated() {
      table.add([candidate.name] + similarity.cosines[index].map { formatted($0, digits: 3) })
    }
    return [""] + table.lines
  }

  /// What `--json` says.
  var facts: [(String, JSON)] {
    var facts: [(String, JSON)] = []
    if let statistics {
      facts += [
        ("gate", gate.map(JSON.string) ?? .null), ("tokens", .integer(statistics.tokens)),
        ("nats_per_token", .double(statistics.nats)),
        ("null_use", statistics.nullUse.map(JSON.double) ?? .null),
      ]
    }
    facts.append(
      (
        "experts",
        .array(
          candidates.enumerated().map { index, candidate in
            let own = statistics?[candidate.id]
            let nearest = similarity?.nearest(to: index)
            return [
              "name": .string(candidate.name), "id": .string(candidate.id.description),
              "use": own.map { .double($0.use) } ?? .null,
              "saliency": own.map { .double($0.saliency) } ?? .null,
              "nats_if_dropped": own?.lossChange.map(JSON.double) ?? .null,
              "nearest": nearest.map { .string(candidates[$0.index].name) } ?? .null,
              "cosine": nearest.map { .double($0.cosine) } ?? .null,
              "always": .bool(candidate.stays), "leaves": .bool(reduction.leaving.contains(index)),
            ]
          })
      ))
    if let similarity {
      facts.append(("cosines", .array(similarity.cosines.map { .array($0.map(JSON.double)) })))
    }
    facts.append(
      (
        "clusters",
        .array(
          reduction.clusters.map { cluster in
            .array(
              zip(cluster.members, cluster.weights).map {
                ["name": .string(candidates[$0].name), "weight": .double($1)]
              })
          })
      ))
    return facts
  }
}
