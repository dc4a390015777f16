public import LMoECore

extension GateRouting {
  /// An expert that a gate is to know from now on.
  public struct Newcomer: Sendable {
    /// Its id.
    public let id: Bits128
    /// Its name.
    public let name: String
    /// The linear layers that it adapts.
    public let modules: [String]

    /// Puts them together.
    public init(id: Bits128, name: String, modules: [String]) {
      (self.id, self.name, self.modules) = (id, name, modules)
    }
  }

  /// A gate without anybody to choose from.
  public init(_ gate: Gate, always: [Bits128] = []) {
    (self.gate, self.always, places) = (gate, always.sorted(), [:])
  }

  /// The gate with experts that it knew nothing of, to be trained.
  ///
  /// Their rows are those of `NewGate.random`: small normal numbers, which depend on the seed, the expert's name
  /// and the place, so that no two experts begin alike and almost nothing is decided yet; the prototypes of
  /// cosines have a length of about 1. In a constant gate they have the score 0.
  ///
  /// - Parameters:
  ///   - newcomers: The experts; the null expert is one of them with its id, and acts where any does.
  ///   - widthOfModule: The width of a linear layer's input; nil for one that the model does not have.
  ///   - hiddenSize: The width of a layer's input and of an embedding.
  ///   - seed: What the rows are drawn from.
  ///   - deviation: The standard deviation of scores on an input of elements around 1.
  public func adding(
    _ newcomers: [Newcomer], widthOfModule: (String) -> Int?, hiddenSize: Int, seed: UInt64,
    deviation: Double = 0.1
  ) -> GateRouting {
    var table: [ByteKey: [(id: Bits128, score: Double, row: [Float])]] = [:]
    for (key, place) in places {
      for (index, id) in place.experts.enumerated() {
        table[key, default: []].append(
          (id, gate.isLearned ? 0 : place.scores[index], gate.isLearned ? place.rows[index] : []))
      }
    }
    let everywhere =
      newcomers.flatMap(\.modules) + places.keys.map(\.text).filter { gate.scope == .module && !$0.isEmpty }
    for newcomer in newcomers {
      let modules = newcomer.id == Gate.nullExpert ? everywhere : newcomer.modules
      var seen: Set<ByteKey> = []
      for module in modules {
        guard let place = gate.place(ofModule: module), seen.insert(ByteKey(place)).inserted,
          let width = gate.scope == .module ? widthOfModule(module) : hiddenSize,
          table[ByteKey(place)]?.contains(where: { $0.id == newcomer.id }) != true
        else { continue }
        table[ByteKey(place), default: []].append(
          (newcomer.id, 0, gate.isLearned ? row(newcomer, place, width, seed, deviation) : []))
      }
    }
    var copy = self
    copy.places = table.mapValues { rows in
      let sorted = rows.sorted { $0.id < $1.id }
      return Place(
        experts: sorted.map(\.id), scores: gate.isLearned ? [] : sorted.map(\.score),
        rows: gate.isLearned ? sorted.map(\.row) : [])
    }
    if case .listed(let members) = gate.members {
      let known = Set(members.map(\.expert))
      copy.gate.members = .listed(
        members + newcomers.filter { !known.contains($0.id) }.map { Gate.Member(expert: $0.id) })
    }
    return copy
  }

  private func row(
    _ newcomer: Newcomer, _ place: String, _ width: Int, _ seed: UInt64, _ deviation: Double
  ) -> [Float] {
    let stream = Checksum.hash64(Array("\(newcomer.name)/\(place)".utf8))
    var source = RandomSource(seed: seed ^ stream)
    let scale = (gate.score == .prototype(.cosine) ? 1 : deviation) / Double(width).squareRoot()
    let values = (0..<width).map { _ in Float(scale * source.normal()) }
    return gate.score == .linear ? values + [0] : values
  }
}
