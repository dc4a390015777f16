extension Model {
  /// The type of the layers' weights.
  public var weightType: String { blocks.first?.feedForward.up.weight.kind.name ?? "none" }

  /// Bytes of weights that must be read for one token alone: layers, head, and the experts that have a say.
  ///
  /// Of a gate that chooses k of its experts, as many are counted, of mean size.
  public var weightBytes: Int {
    let layers = blocks.reduce(0) { sum, block in
      sum + block.inputNorm.weight.bytes + block.postAttentionNorm.weight.bytes
        + (block.gate?.rows?.bytes ?? 0)
        + block.linears.reduce(0) { $0 + bytes(of: $1, block.gate) }
    }
    return layers + norm.weight.bytes + (gate?.rows?.bytes ?? 0) + bytes(of: head, nil)
  }

  /// Multiplications, each with an addition.
  public struct Multiplications: Sendable {
    /// With quantized weights whose sums can be of integers.
    public internal(set) var integers = 0
    /// All others: with weights of floats, B of experts, and of queries with keys and values.
    public internal(set) var floats = 0

    static func + (left: Self, right: Self) -> Self {
      Multiplications(integers: left.integers + right.integers, floats: left.floats + right.floats)
    }
    static func * (count: Int, one: Self) -> Self {
      Multiplications(integers: count * one.integers, floats: count * one.floats)
    }
  }

  /// Multiplications that a prompt of `tokens` takes whose last token's logits are wanted: those of the weights, and
  /// what queries have to do with keys and values.
  public func multiplications(prompt tokens: Int) -> Multiplications {
    let layers = blocks.reduce(Multiplications()) { sum, block in
      let seen = (0..<tokens).reduce(0) { $0 + min($1 + 1, block.attention.window ?? .max) }
      let mixing = 2 * seen * block.attention.query.outputs + tokens * (block.gate?.rows?.count ?? 0)
      return block.linears.reduce(sum + Multiplications(floats: mixing)) {
        $0 + tokens * products(of: $1, block.gate)
      }
    }
    return layers + Multiplications(floats: tokens * (gate?.rows?.count ?? 0)) + products(of: head, nil)
  }

  private func bytes(of linear: Linear, _ layerGate: GateInstance?) -> Int {
    linear.weight.bytes + (linear.bias?.bytes ?? 0) + (linear.gate?.rows?.bytes ?? 0)
      + active(linear, layerGate) { $0.slots.reduce(0) { $0 + $1.factors.bytes } }
  }

  private func products(of linear: Linear, _ layerGate: GateInstance?) -> Multiplications {
    func products(_ weight: Weight, _ count: Int) -> Multiplications {
      weight.kind.hasIntegers ? Multiplications(integers: count) : Multiplications(floats: count)
    }
    let rest = (linear.gate?.rows?.count ?? 0) + active(linear, layerGate) { $0.ranks * linear.outputs }
    let own = products(linear.weight, linear.weight.count) + Multiplications(floats: rest)
    guard let a = linear.experts?.slots.first?.factors.a else { return own }
    return own + products(a, active(linear, layerGate) { $0.ranks * linear.weight.columns })
  }

  /// The part of what all experts of a linear layer cost that those cost which its gate lets take part.
  private func active(
    _ linear: Linear, _ layerGate: GateInstance?, _ cost: (LinearExperts) -> Int
  ) -> Int {
    guard let experts = linear.experts else { return 0 }
    guard let gate = linear.gate ?? layerGate ?? self.gate else { return cost(experts) }
    return gate.chosenPart(of: cost(experts))
  }
}

extension DecoderBlock {
  fileprivate var linears: [Linear] {
    [
      attention.query, attention.key, attention.value, attention.output, feedForward.gate, feedForward.up,
      feedForward.down,
    ]
  }
}
