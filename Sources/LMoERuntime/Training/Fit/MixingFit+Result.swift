import LMoECore
public import LMoEExperts

extension MixingFit.Result {
  /// A gate that gives these weights to every token: constant, or for weights by layer linear with nothing but biases.
  ///
  /// - Parameters:
  ///   - hiddenSize: The width of a layer's input.
  ///   - method: How they were found.
  public func gate(hiddenSize: Int, method: MixingFit.Method) -> NewGate {
    let facts = facts(method)
    guard scope == .layer else {
      let given = zip(ids, means).map { Gate.Weight(expert: $0, value: $1) }.sorted { $0.expert < $1.expert }
      return NewGate(
        Gate(.constant(.given(given)), scope: .global, normaliser: .none), initialiser: "fit", facts: facts)
    }
    var rows: Gate.Rows = [:]
    let zeros = [Float](repeating: 0, count: hiddenSize)
    for (place, weights) in zip(places, weights) {
      for (id, weight) in zip(ids, weights) {
        if let weight { rows[ByteKey(place), default: [:]][id] = zeros + [Float(weight)] }
      }
    }
    return NewGate(
      Gate(.linear, scope: .layer, normaliser: .none), rows: rows, initialiser: "fit", facts: facts)
  }

  /// The one expert that does what these weights do: Σ wᵢ·Δᵢ in every module.
  ///
  /// - Parameters:
  ///   - inputs: The experts, in their order.
  ///   - rank: How large a rank it gets; by default the smallest that loses nothing.
  ///   - base: Has the weights that DoRA rescales.
  /// - Throws: `ExpertError`.
  public func merge(
    _ inputs: [MergeInput], rank: RankChoice = .natural, base: BaseWeights? = nil, method: MixingFit.Method
  ) throws -> Merge {
    let merge = try Merge(inputs, weights: means, by: MergeMethod(.linear), rank: rank, base: base)
    return merge.weighing(facts: [("fit", .object(facts(method)))]) { module in
      let place = scope == .global ? 0 : places.firstIndex { module.utf8.starts(with: ($0 + ".").utf8) }
      return place.map { weights[$0].map { $0 ?? 0 } } ?? means
    }
  }

  /// How they were found, for cards.
  private func facts(_ method: MixingFit.Method) -> [(String, JSON)] {
    var facts: [(String, JSON)] = [
      ("method", .string(method.rawValue)), ("scope", .string(scope.rawValue)), ("steps", .integer(steps)),
      ("nats_before", .double(before)), ("nats_after", .double(after)),
    ]
    if scope == .layer {
      facts.append(
        (
          "weights",
          .array(
            weights.map { row in .array(row.map { $0.map(JSON.double) ?? .null }) })
        ))
    }
    return facts
  }
}
