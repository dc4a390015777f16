public import LMoECore

extension Gate {
  /// Reads a gate's card.
  ///
  /// - Parameters:
  ///   - card: The card.
  ///   - name: The gate's name, for errors.
  ///   - path: The bundle, for errors.
  /// - Throws: `ExpertError` with `invalid-gate`, or `unsupported-gate` for what the registry sets aside.
  public init(card: JSON, name: String, path: String) throws(ExpertError) {
    let reader = GateCardReader(card: card, name: name, path: path)
    guard card["card"]?.int == 1 else {
      throw reader.unsupported("card", card["card"]?.serialized() ?? "missing")
    }
    let scope: Scope = try reader.choice("scope")
    let score = try reader.score()
    _ = try reader.choice("pooling", default: Pooling.token)
    guard try reader.text("mask", default: "none").hasSameBytes(as: "none") else {
      throw reader.unsupported("mask")
    }
    self.init(
      score, scope: scope, normaliser: try reader.normaliser(), temperature: try reader.temperature(),
      members: try reader.members())
    let input: Input = try reader.choice("input")
    guard input == self.input else {
      throw reader.invalid(
        "\(reader.a(score)) of scope \(scope.rawValue) takes the input \(self.input.rawValue), "
          + "and its card says \(input.rawValue)")
    }
    try check(reader)
  }

  /// Whether the choices go together.
  private func check(_ reader: GateCardReader) throws(ExpertError) {
    guard case .constant(let weights) = score else { return }
    switch weights {
    case .uniform:
      guard normaliser == .softmax else {
        throw reader.invalid(
          "uniform weights take the normaliser softmax, and its card says \(normaliser.name)")
      }
    case .given(let weights):
      let roles = GateRoles(self)
      for weight in weights where roles.role(of: weight.expert) != .routed {
        throw reader.invalid("it has a weight for \(weight.expert), which is no routed member")
      }
    }
  }
}

/// The fields of a gate's card, each read or refused.
private struct GateCardReader {
  let card: JSON
  let name: String
  let path: String

  func invalid(_ found: String) -> ExpertError {
    ExpertError(.invalidGate, path: path, name: name, found: found)
  }

  func unsupported(_ field: String, _ found: String? = nil) -> ExpertError {
    ExpertError(
      .unsupportedGate, path: path, name: name, expected: field,
      found: found ?? card[field]?.serialized().shortened)
  }

  func a(_ score: Gate.Score) -> String { "a \(score.name) score" }

  func text(_ field: String, default standard: String? = nil) throws(ExpertError) -> String {
    switch card[field] {
    case .string(let text)?: return text
    case nil, .null?:
      if let standard { return standard }
      throw invalid("its card has no \(field)")
    default: throw invalid("the \(field) on its card is not a text")
    }
  }

  /// One of the values that this version knows; what it does not know may be of a later one.
  func choice<Choice: RawRepresentable<String>>(
    _ field: String, default standard: Choice? = nil
  ) throws(ExpertError) -> Choice {
    guard let choice = Choice(rawValue: try text(field, default: standard?.rawValue)) else {
      throw unsupported(field)
    }
    return choice
  }

  func score() throws(ExpertError) -> Gate.Score {
    switch try text("score") {
    case "constant": return .constant(try weights())
    case "linear": return .linear
    case "prototype": return .prototype(try choice("similarity"))
    default: throw unsupported("score")
    }
  }

  func normaliser() throws(ExpertError) -> Gate.Normaliser {
    let name = try text("normaliser")
    switch name {
    case "none", "softmax":
      guard card["k"]?.isNull ?? true else { throw invalid("its card has a k, and \(name) takes none") }
      return name == "none" ? .none : .softmax
    case "top-k-renormalised": return .topKRenormalised(try k())
    case "top-k-raw": return .topKRaw(try k())
    default: throw unsupported("normaliser")
    }
  }

  private func k() throws(ExpertError) -> Int {
    guard let k = card["k"]?.int, (1...Gate.largestK).contains(k) else {
      let found = card["k"]?.serialized().shortened ?? "missing"
      throw invalid("the k on its card is \(found), and must be from 1 to \(Gate.largestK)")
    }
    return k
  }

  func temperature() throws(ExpertError) -> Double {
    guard let value = card["temperature"], !value.isNull else { return 1 }
    guard let number = value.double, Gate.temperatures.contains(number) else {
      throw invalid(
        "the temperature on its card is \(value.serialized().shortened), and must be from 1e-6 to 1e6")
    }
    return number
  }

  func members() throws(ExpertError) -> Gate.Members {
    switch card["members"] {
    case nil, .null?: return .all
    case .string(let text)? where text.hasSameBytes(as: "all"): return .all
    case .array(let rows)?:
      var known: Set<Bits128> = []
      var members: [Gate.Member] = []
      for row in rows {
        let expert = try id(row, in: "members", &known)
        switch row["role"] {
        case .string("routed")?: members.append(Gate.Member(expert: expert, role: .routed))
        case .string("always")? where expert != Gate.nullExpert:
          members.append(Gate.Member(expert: expert, role: .always))
        case let role:
          throw invalid(
            "the member \(expert) has the role \(role?.serialized().shortened ?? "missing"), "
              + "and roles are routed and, but for the null expert, always")
        }
      }
      return .listed(members)
    default: throw invalid("the members on its card are neither \"all\" nor a list")
    }
  }

  private func weights() throws(ExpertError) -> Gate.Weights {
    switch card["weights"] {
    case .string(let text)? where text.hasSameBytes(as: "uniform"): return .uniform
    case .array(let rows)?:
      var known: Set<Bits128> = []
      var weights: [Gate.Weight] = []
      for row in rows {
        let expert = try id(row, in: "weights", &known)
        guard let value = row["weight"]?.double, Float(value).isFinite else {
          throw invalid(
            "the weight of \(expert) is \(row["weight"]?.serialized().shortened ?? "missing"), "
              + "and must be a finite number")
        }
        weights.append(Gate.Weight(expert: expert, value: value))
      }
      return .given(weights)
    default: throw invalid("the weights on its card are neither \"uniform\" nor a list")
    }
  }

  /// The expert of a row, which no other row may have.
  private func id(
    _ row: JSON, in list: String, _ known: inout Set<Bits128>
  ) throws(ExpertError) -> Bits128 {
    guard let text = row["expert"]?.string, let id = Bits128(hexadecimal: text) else {
      let found = row["expert"]?.serialized().shortened ?? "nothing"
      throw invalid("its \(list) name \(found), which is no id of an expert (32 hexadecimal digits)")
    }
    guard known.insert(id).inserted else { throw invalid("its \(list) name \(id) twice") }
    return id
  }
}
