import LMoECore
public import LMoEFormat

extension NewGate {
  /// A linear gate to be trained: small random weights, which tell the experts apart, and biases of zero.
  ///
  /// A weight is normal with the standard deviation `deviation` / √width, so that on an input of elements
  /// around 1, as a norm leaves them, scores have the standard deviation `deviation`: almost a uniform gate. A
  /// row depends on the seed, the expert's name and the place, and not on what else is in the bundle.
  ///
  /// - Throws: `ExpertError` with `no-base`, or what reading the cards throws.
  public static func random(
    in bundle: Bundle, scope: Gate.Scope = .layer, normaliser: Gate.Normaliser = .softmax,
    temperature: Double = 1, members: Gate.Members = .all, seed: UInt64 = 0, deviation: Double = 0.1
  ) throws -> NewGate {
    let gate = Gate(
      .linear, scope: scope, normaliser: normaliser, temperature: temperature, members: members)
    let places = try GatePlaces(gate, in: bundle)
    var rows: Gate.Rows = [:]
    for place in places.places {
      let null = places.hasNull ? [(Gate.nullExpert, "")] : []
      for (id, name) in null + place.experts.map({ ($0.id, $0.name) }) {
        let stream = Checksum.hash64(Array("\(name)/\(place.name.text)".utf8))
        var source = RandomSource(seed: seed ^ stream)
        let scale = deviation / Double(place.width).squareRoot()
        rows[place.name, default: [:]][id] =
          (0..<place.width).map { _ in Float(scale * source.normal()) } + [0]
      }
    }
    return NewGate(
      gate, rows: rows, initialiser: "random",
      facts: [("seed", .integer(seed)), ("deviation", .double(deviation))], notes: places.notes)
  }
}
