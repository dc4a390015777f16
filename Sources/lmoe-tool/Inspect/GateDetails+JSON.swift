import LMoECore
import LMoEExperts
import LMoEFormat

extension GateDetails {
  /// As `inspect --json` has it.
  var json: JSON {
    ["name": .string(bank.shortName), "id": .string(bank.id.description), "card": card ?? .null]
  }

  /// With whom it knows (spec/inspect.md).
  var fullJSON: JSON {
    var object = json.object ?? JSONObject()
    object["problem"] = problem.map(JSON.string) ?? .null
    object["experts"] = .array((status?.experts ?? []).map(json(of:)))
    return .object(object)
  }

  private func json(of expert: GateStatus.Expert) -> JSON {
    var object: [(String, JSON)] = [
      ("id", .string(expert.id.description)), ("name", expert.name.map(JSON.string) ?? .null),
      ("standing", .string(expert.standing.rawValue)),
      ("weight", expert.weight.map(JSON.double) ?? .null), ("rows", .integer(expert.rowCount)),
      ("places", expert.placeCount.map { .integer($0) } ?? .null),
    ]
    if let norms = norms?.norms[expert.id] {
      let sorted = norms.sorted { $0.key < $1.key }
      object.append(("norms", .object(sorted.map { ($0.key.text, .double($0.value)) })))
    }
    return .object(object)
  }
}
