/// Parameters by the names that gradients have.
extension ReferenceModel {
  /// The values of a parameter; empty if there is none of that name.
  subscript(parameter name: String) -> [Double] {
    get {
      switch find(name) {
      case .weight: weights[name]?.values ?? []
      case .a(let expert, let module): experts[expert].modules[module]?.a.values ?? []
      case .b(let expert, let module): experts[expert].modules[module]?.b.values ?? []
      case .magnitude(let expert, let module): experts[expert].modules[module]?.magnitude ?? []
      case .row(let place, let expert): gate?.rows[place]?[expert] ?? []
      case .score(let expert): (gate?.scores[expert]).map { [$0] } ?? []
      case nil: []
      }
    }
    set {
      switch find(name) {
      case .weight: weights[name]?.values = newValue
      case .a(let expert, let module): experts[expert].modules[module]?.a.values = newValue
      case .b(let expert, let module): experts[expert].modules[module]?.b.values = newValue
      case .magnitude(let expert, let module): experts[expert].modules[module]?.magnitude = newValue
      case .row(let place, let expert): gate?.rows[place]?[expert] = newValue
      case .score(let expert): gate?.scores[expert] = newValue.first
      case nil: break
      }
    }
  }

  private enum Parameter {
    case weight
    case a(Int, String)
    case b(Int, String)
    case magnitude(Int, String)
    case row(place: String, expert: String)
    case score(expert: String)
  }

  private func find(_ name: String) -> Parameter? {
    if weights[name] != nil { return .weight }
    for (index, expert) in experts.enumerated() where name.hasPrefix(expert.name + "/") {
      for module in expert.modules.keys {
        switch name {
        case "\(expert.name)/\(module).lora_A": return .a(index, module)
        case "\(expert.name)/\(module).lora_B": return .b(index, module)
        case "\(expert.name)/\(module).magnitude": return .magnitude(index, module)
        default: continue
        }
      }
    }
    for (place, rows) in gate?.rows ?? [:] {
      for expert in rows.keys where name == "gate/\(place)/\(expert)" {
        return .row(place: place, expert: expert)
      }
    }
    return gate?.scores.keys.first { name == "gate//" + $0 }.map { .score(expert: $0) }
  }
}
