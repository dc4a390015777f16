public import ArgumentParser
public import LMoEExperts

extension MergeMethod.Kind: ExpressibleByArgument {}
extension MergeMethod.Flavor: ExpressibleByArgument {}
extension MergedExpert.Precision: ExpressibleByArgument {}
extension BaseMerge.Rounding: ExpressibleByArgument {}
extension MergedRowChoice: ExpressibleByArgument {}

/// `NAME` or `NAME=WEIGHT`.
struct WeightedName: ExpressibleByArgument {
  let name: String
  let weight: Double?

  init?(argument: String) {
    guard let equals = argument.utf8.lastIndex(of: UInt8(ascii: "=")) else {
      (name, weight) = (argument, nil)
      return
    }
    guard let number = Double(argument[argument.index(after: equals)...]) else { return nil }
    name = String(decoding: argument.utf8[..<equals], as: UTF8.self)
    weight = number
  }
}

/// How experts become one.
struct MergeOptions: ParsableArguments {
  @Option(
    name: .long,
    help: "cat and linear are exact; svd is the best of a rank; the others choose among entries.")
  var method = MergeMethod.Kind.linear

  @Option(name: .long, help: "A weight for each expert, of either sign (default: equal, their sum 1).")
  var weights: String?

  @Option(name: .long, help: "The rank of every module of the result.")
  var rank: Int?

  @Option(name: .long, help: "Or the smallest rank that holds this share of a module's energy.")
  var energy: Double?

  @Option(name: .long, help: "The share of entries that stay (default: 0.5).")
  var density: Double?

  @Option(name: .customLong("lambda"), help: "What the result is multiplied with (default: 1).")
  var lambda: Double?

  @Option(name: .long, help: "breadcrumbs: the share of the largest entries that go (default: 0.01).")
  var gamma: Double?

  @Option(name: .long, help: "della: how far chances are from the density at most (default: 0.15).")
  var epsilon: Double?

  @Option(name: .customLong("t"), help: "slerp: the place between the two (default: by the weights).")
  var place: Double?

  @Option(name: .long, help: "What random choices follow from.")
  var seed: UInt64 = 0

  @Option(name: .long, help: "Whose rules for ties, dare and della.")
  var flavor = MergeMethod.Flavor.paper

  /// The method with its numbers.
  var mergeMethod: MergeMethod {
    var result = MergeMethod(method)
    result.flavor = flavor
    if let density { result.density = density }
    if let lambda { result.lambda = lambda }
    if let gamma { result.gamma = gamma }
    if let epsilon { result.epsilon = epsilon }
    result.t = place
    result.seed = seed
    return result
  }

  var rankChoice: RankChoice {
    if let rank { return .rank(rank) }
    return energy.map(RankChoice.energy) ?? .natural
  }

  /// The weights that --weights lists.
  var listedWeights: [Double]? {
    weights.map { text in
      text.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) ?? .nan }
    }
  }

  mutating func validate() throws {
    let method = mergeMethod
    if rank != nil, energy != nil { throw ValidationError("--rank and --energy cannot be used together.") }
    if density != nil, !method.usesDensity { throw unused("--density") }
    if lambda != nil, !method.usesLambda { throw unused("--lambda") }
    if gamma != nil, self.method != .breadcrumbs { throw unused("--gamma") }
    if epsilon != nil, self.method != .della { throw unused("--epsilon") }
    if place != nil, self.method != .slerp { throw unused("--t") }
    if let place, !(0...1).contains(place) { throw ValidationError("--t lies between 0 and 1.") }
    if let listed = listedWeights, listed.contains(where: \.isNaN) {
      throw ValidationError("--weights are numbers with commas between them, such as 0.7,0.3.")
    }
  }

  private func unused(_ option: String) -> ValidationError {
    ValidationError("\(option) has no meaning for --method \(method.rawValue).")
  }
}
