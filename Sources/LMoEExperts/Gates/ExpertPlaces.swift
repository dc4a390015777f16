import LMoECore
import LMoEFormat

/// Where the experts of a bundle act, as far as a gate is concerned.
struct ExpertPlaces: Sendable {
  /// An expert, and the linear layers that its card lists; nil for a kind of expert that lists none.
  struct Expert: Sendable {
    let id: Bits128
    let name: String
    let modules: [String]?
  }

  /// The experts, in the order of their ids.
  let experts: [Expert]
  private let places: [Bits128: Int]

  /// Reads the cards of all experts.
  init(_ bundle: Bundle) throws {
    let experts = try bundle.banks(ofKind: "expert").map { bank in
      Expert(
        id: bank.id, name: bank.shortName,
        // The input of an embedding is a number, not a vector that a gate could look at.
        modules: ModuleGroup.groups(ofCard: try bundle.card(of: bank))?.flatMap {
          $0.numbers.isEmbedding ? [] : $0.targets
        })
    }.sorted { $0.id < $1.id }
    self.experts = experts
    // Ids are unique in what this tool writes; in a file where they are not, the first stands.
    places = Dictionary(
      experts.indices.map { (experts[$0].id, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// The expert of that id.
  subscript(id: Bits128) -> Expert? { places[id].map { experts[$0] } }
}

extension ExpertPlaces.Expert {
  /// The places of `gate` where it acts; nil where that is not known, and so may be anywhere.
  func places(in gate: Gate) -> Set<ByteKey>? {
    if gate.scope == .global { return [ByteKey(Gate.globalPlace)] }
    return modules.map { Set($0.compactMap(gate.place(ofModule:)).map { ByteKey($0) }) }
  }
}
