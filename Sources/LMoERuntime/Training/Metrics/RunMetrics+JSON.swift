import LMoECore

extension RunMetrics {
  var json: JSON {
    [
      "schema": .integer(MetricsLine.schema), "kind": "run", "time": .string(time), "bundle": .string(bundle),
      "trains": .string(trains.rawValue),
      "experts": .array(
        experts.map {
          [
            "name": .string($0.name), "rank": .integer($0.rank), "parameters": .integer($0.parameters),
            "isNew": .bool($0.isNew), "isTrained": .bool($0.isTrained),
          ]
        }),
      "gate": gate?.json ?? .null, "domains": .array(domains.map(JSON.string)),
      "columns": .array(columns.map(JSON.string)), "places": .array(places.map(JSON.string)),
      "options": .object(options.map { ($0.name, $0.json) }),
      "steps": steps.map { .integer($0) } ?? .null,
    ]
  }

  init(_ fields: MetricsFields) throws(MetricsProblem) {
    let schema = try fields.count("schema")
    guard schema == MetricsLine.schema else {
      throw MetricsProblem(sentence: "its schema is \(schema), and this tool reads \(MetricsLine.schema)")
    }
    guard let trains = Part(rawValue: try fields.text("trains")) else {
      throw MetricsProblem(sentence: "\"trains\" is not \"both\", \"gate\" or \"experts\"")
    }
    var experts: [Expert] = []
    for fields in try fields.objects("experts") {
      experts.append(
        Expert(
          name: try fields.text("name"), rank: try fields.optionalCount("rank") ?? 0,
          parameters: try fields.optionalCount("parameters") ?? 0, isNew: try fields.flag("isNew"),
          isTrained: try fields.flag("isTrained")))
    }
    self.init(
      time: try fields.optionalText("time") ?? "", bundle: try fields.text("bundle"), trains: trains,
      experts: experts, gate: try Gate(fields.optionalObject("gate")), domains: try fields.texts("domains"),
      columns: try fields.texts("columns"), places: try fields.texts("places"),
      options: try fields.members("options").members.map { Option($0.key, $0.value) },
      steps: try fields.optionalCount("steps"))
  }
}

extension RunMetrics.Option {
  /// The value; null if it is none.
  var json: JSON {
    do throws(JSONError) { return try JSON(parsing: Array(value.utf8)) } catch { return .null }
  }
}

extension RunMetrics.Gate {
  var json: JSON {
    [
      "name": .string(name), "score": .string(score), "scope": .string(scope),
      "normaliser": .string(normaliser), "k": k.map { .integer($0) } ?? .null,
      "temperature": .metric(temperature), "parameters": .integer(parameters), "isTrained": .bool(isTrained),
      "isNew": .bool(isNew),
    ]
  }

  init?(_ fields: MetricsFields?) throws(MetricsProblem) {
    guard let fields else { return nil }
    self.init(
      name: try fields.text("name"), score: try fields.optionalText("score") ?? "",
      scope: try fields.optionalText("scope") ?? "", normaliser: try fields.optionalText("normaliser") ?? "",
      k: try fields.optionalCount("k"), temperature: try fields.number("temperature"),
      parameters: try fields.optionalCount("parameters") ?? 0, isTrained: try fields.flag("isTrained"),
      isNew: try fields.flag("isNew"))
  }
}
