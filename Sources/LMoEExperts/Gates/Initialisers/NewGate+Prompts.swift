public import LMoECore
public import LMoEFormat

extension NewGate {
  /// Prototypes of what the gate sees on texts of each expert: a token goes to the expert whose texts it is like.
  ///
  /// What all experts' texts have in common says nothing, and in language models it is most of a hidden state:
  /// with `isCentred` the mean over the experts is taken off at each place. Rows have the length 1. The null
  /// expert's is zero, a similarity of 0, unless there are means for it.
  ///
  /// - Parameters:
  ///   - means: Expert → place → the mean of what the gate sees there.
  ///   - bundle: The bundle that it is for.
  ///   - texts: What its card says of the texts.
  /// - Throws: `ExpertError` with `invalid-gate` for means of another width, `no-base`, or what reading the cards
  ///   throws.
  public static func prompts(
    means: [Bits128: [ByteKey: [Float]]], in bundle: Bundle, scope: Gate.Scope = .layer,
    similarity: Gate.Similarity = .cosine, normaliser: Gate.Normaliser = .softmax,
    temperature: Double = 0.1, members: Gate.Members = .all, isCentred: Bool = true, texts: [JSON] = []
  ) throws -> NewGate {
    let gate = Gate(
      .prototype(similarity), scope: scope, normaliser: normaliser, temperature: temperature,
      members: members)
    let places = try GatePlaces(gate, in: bundle)
    var rows: Gate.Rows = [:]
    var silent: Set<String> = []
    for place in places.places {
      var found: [(id: Bits128, mean: [Float])] = []
      let null = places.hasNull ? [(Gate.nullExpert, "the null expert")] : []
      for (id, name) in null + place.experts.map({ ($0.id, "expert/" + $0.name) }) {
        guard let mean = means[id]?[place.name] else {
          if id != Gate.nullExpert { silent.insert(name) }
          continue
        }
        guard mean.count == place.width else {
          throw ExpertError(
            .invalidGate, path: bundle.path, name: "prompts",
            found: "the mean of \(name) at \(place.name.text) has \(mean.count) of \(place.width) elements")
        }
        found.append((id, mean))
      }
      let centre = isCentred && found.count > 1 ? Self.mean(found.map(\.mean)) : []
      for (id, mean) in found {
        let moved = mean.indices.map { Double(mean[$0]) - (centre.isEmpty ? 0 : centre[$0]) }
        rows[place.name, default: [:]][id] = Self.unit(moved)
      }
      if places.hasNull, rows[place.name]?[Gate.nullExpert] == nil, !found.isEmpty {
        rows[place.name]?[Gate.nullExpert] = [Float](repeating: 0, count: place.width)
      }
    }
    let unheard = silent.sorted().map { "there is no text for \($0), of which the gate is unaware" }
    return NewGate(
      gate, rows: rows, initialiser: "prompts",
      facts: [("centred", .bool(isCentred)), ("texts", .array(texts))], notes: places.notes + unheard)
  }

  private static func mean(_ vectors: [[Float]]) -> [Double] {
    guard let first = vectors.first else { return [] }
    return first.indices.map { index in
      vectors.reduce(0) { $0 + Double($1[index]) } / Double(vectors.count)
    }
  }

  /// The vector at length 1; as it is where it has none.
  static func unit(_ vector: [Double]) -> [Float] {
    let length = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return vector.map { Float(length > 0 ? $0 / length : $0) }
  }
}
