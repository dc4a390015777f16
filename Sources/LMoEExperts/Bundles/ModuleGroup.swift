public import LMoECore

/// Modules of an expert with equal numbers, as its card has them (registry §5.2).
public struct ModuleGroup: Sendable {
  /// The numbers that the modules of a group share.
  public struct Numbers: Hashable, Sendable {
    /// r.
    public let rank: Int
    /// α.
    public let alpha: Double
    /// What B·A is multiplied with.
    public let scaling: Double
    /// Whether they are embeddings.
    public let isEmbedding: Bool
    /// Whether magnitudes rescale the rows of the sum.
    public let isDoRA: Bool
    /// Whether B has a bias.
    public let hasBias: Bool

    /// The numbers of modules without magnitudes.
    public init(
      rank: Int, alpha: Double, scaling: Double, isEmbedding: Bool = false, hasBias: Bool = false
    ) {
      (self.rank, self.alpha, self.scaling) = (rank, alpha, scaling)
      (self.isEmbedding, isDoRA, self.hasBias) = (isEmbedding, false, hasBias)
    }

    init(_ module: LoRAModule) {
      (rank, alpha, scaling) = (module.rank, module.alpha, module.scaling)
      (isEmbedding, isDoRA, hasBias) = (module.isEmbedding, module.isDoRA, module.hasBias)
    }

    /// Reads a group of a card.
    init?(_ json: JSON) {
      guard let rank = json["rank"]?.int, rank > 0, let alpha = json["alpha"]?.double,
        let scaling = json["scaling"]?.double
      else { return nil }
      (self.rank, self.alpha, self.scaling) = (rank, alpha, scaling)
      isEmbedding = json["embedding"]?.bool ?? false
      isDoRA = json["dora"]?.bool ?? false
      hasBias = json["lora_bias"]?.bool ?? false
    }
  }

  /// What they share.
  public let numbers: Numbers
  /// Their names.
  public internal(set) var targets: [String]
  /// ‖scaling · B·A‖_F of each, where it is known.
  public internal(set) var norms: [Double?]

  init(_ numbers: Numbers, targets: [String], norms: [Double?]) {
    (self.numbers, self.targets, self.norms) = (numbers, targets, norms)
  }

  /// Reads the groups of an expert's card.
  ///
  /// - Returns: nil if they are not what this tool writes.
  public static func groups(ofCard card: JSON?) -> [ModuleGroup]? {
    guard let array = card?["modules"]?.array else { return nil }
    let groups = array.compactMap { json -> ModuleGroup? in
      guard let numbers = Numbers(json), let targets = json["targets"]?.array else { return nil }
      let names = targets.compactMap(\.string)
      guard names.count == targets.count else { return nil }
      let norms = json["norms"]?.array?.map(\.double) ?? []
      return ModuleGroup(
        numbers, targets: names,
        norms: norms.count == names.count ? norms : Array(repeating: nil, count: names.count))
    }
    return groups.count == array.count ? groups : nil
  }

  /// Puts modules with equal numbers together, in the order of their first names.
  static func groups(of modules: [LoRAModule], norms: [Double?]) -> [ModuleGroup] {
    var groups: [ModuleGroup] = []
    var places: [Numbers: Int] = [:]
    for (module, norm) in zip(modules, norms) {
      let numbers = Numbers(module)
      if let place = places[numbers] {
        groups[place].targets.append(module.name)
        groups[place].norms.append(norm)
      } else {
        places[numbers] = groups.count
        groups.append(ModuleGroup(numbers, targets: [module.name], norms: [norm]))
      }
    }
    return groups
  }

  var json: JSON {
    var object: [(String, JSON)] = [
      ("rank", .integer(numbers.rank)), ("alpha", .double(numbers.alpha)),
      ("scaling", .double(numbers.scaling)),
    ]
    if numbers.isEmbedding { object.append(("embedding", true)) }
    if numbers.isDoRA { object.append(("dora", true)) }
    if numbers.hasBias { object.append(("lora_bias", true)) }
    object.append(("targets", .array(targets.map(JSON.string))))
    object.append(("norms", .array(norms.map { $0.map(Cards.rounded) ?? .null })))
    return .object(object)
  }
}

extension PEFTAdapter {
  /// The modules with equal numbers together, in the order of their first names.
  public var groups: [ModuleGroup] { ModuleGroup.groups(of: modules, norms: modules.map { _ in nil }) }
}

extension ExpertMeasurement {
  /// ‖ΔW‖_F over all modules; nil for DoRA, whose change depends on the base, and where a module is unknown.
  func norm(of expert: LoRAExpert) -> Double? {
    expert.modules.contains(where: \.isDoRA) ? nil : total(norms)
  }

  private func total(_ norms: [Double?]) -> Double? {
    var sum = 0.0
    for norm in norms {
      guard let norm else { return nil }
      sum += norm * norm
    }
    return norms.isEmpty ? nil : sum.squareRoot()
  }

  /// ‖ΔW‖_F over ‖W‖_F of the weights that are changed.
  func share(of expert: LoRAExpert, base: BaseDescription) -> Double? {
    guard let norm = norm(of: expert), expert.layerReplication.isEmpty else { return nil }
    let weights = total(
      expert.modules.map { module in
        base.names.stored(module.name + ".weight").flatMap { base.norms[ByteKey($0)] }
      })
    return weights.flatMap { $0 > 0 ? norm / $0 : nil }
  }
}
