public import LMoECore
import LMoEFormat

/// Several experts about to become one.
public struct Merge: Sendable {
  /// A module that some of them change.
  struct Module: Sendable {
    let name: String
    let rows: Int
    let columns: Int
    let isEmbedding: Bool
    /// The experts that change it, by number.
    let members: [(input: Int, module: MergeInput.Module)]

    /// Bytes of the factors as float32.
    var bytes: Int { members.reduce(0) { $0 + $1.module.rank * (rows + columns) * 4 } }
  }

  /// The experts.
  public let inputs: [MergeInput]
  /// What each counts.
  public let weights: [Double]
  /// How.
  public let method: MergeMethod
  /// How large a rank the result gets.
  public let rank: RankChoice
  /// The modules by name.
  let modules: [Module]
  /// Gives the base's weights, for magnitudes.
  let base: BaseWeights?
  /// What each expert counts in a module, where that is not the same in all.
  var moduleWeights: [ByteKey: [Double]] = [:]
  /// What the card of the result says besides.
  var facts: [(String, JSON)] = []

  /// Checks that the experts can be merged so.
  ///
  /// - Parameters:
  ///   - weights: One an expert; by default all the same, and their sum 1.
  ///   - base: Has the weights that DoRA rescales.
  ///   - isIntoBase: Whether the result is added to the base's weights, so that it need not have a low rank.
  /// - Throws: `ExpertError` with `merge-mismatch` for experts that do not go together, `no-static-delta` for one
  ///   that is more than a delta, `invalid-merge` for numbers that make no sense.
  public init(
    _ inputs: [MergeInput], weights: [Double]? = nil, by method: MergeMethod, rank: RankChoice = .natural,
    base: BaseWeights? = nil, isIntoBase: Bool = false
  ) throws {
    self.inputs = inputs
    self.weights = weights ?? inputs.map { _ in 1 / Double(inputs.count) }
    (self.method, self.rank, self.base) = (method, rank, base)
    try Self.check(inputs, self.weights, method, rank)
    if !isIntoBase { try Self.requireDeltas(inputs) }
    modules = try Self.modules(inputs)
    for module in modules {
      guard let member = module.members.first(where: { $0.module.isDoRA }) else { continue }
      let input = inputs[member.input]
      if (method.kind == .cat && !isIntoBase) || method.kind == .knots {
        throw ExpertError(
          .noStaticDelta, path: input.path, name: module.name, expected: "--method svd",
          found:
            "its magnitudes (DoRA) make the delta more than a product of factors, which \(method.kind.rawValue) needs"
        )
      }
      guard base != nil else {
        throw ExpertError(
          .noStaticDelta, path: input.path, name: module.name,
          expected: "--base with the model it was trained on",
          found: "its magnitudes (DoRA) rescale the base's weight, and there is none")
      }
    }
  }

  /// Refuses what is not a delta of weights.
  static func requireDeltas(_ inputs: [MergeInput]) throws {
    for input in inputs {
      let rows = input.rowsReplaced.first.map { "rows of \($0)" }
      guard let name = input.replacements.first?.tensor ?? rows else { continue }
      throw ExpertError(
        .noStaticDelta, path: input.path, name: name, expected: "--into-base",
        found: "it comes with values that replace the base's, which no low-rank delta holds")
    }
  }

  static func check(
    _ inputs: [MergeInput], _ weights: [Double], _ method: MergeMethod, _ rank: RankChoice
  ) throws {
    func refuse(_ found: String) -> ExpertError { ExpertError(.invalidMerge, path: "", found: found) }
    guard !inputs.isEmpty else { throw refuse("there is nothing to merge") }
    guard weights.count == inputs.count else {
      throw refuse("\(inputs.count) experts have \(weights.count) weights; give one for each")
    }
    guard weights.allSatisfy({ $0.isFinite && Float($0).isFinite }) else {
      throw refuse("a weight is not a finite number")
    }
    guard weights.contains(where: { $0 != 0 }) else {
      throw refuse("all weights are 0, and so would be the result")
    }
    if method.kind == .slerp, inputs.count != 2 {
      throw refuse("slerp goes between 2 experts, not \(inputs.count); karcher takes any number")
    }
    if method.kind == .slerp, method.t == nil,
      weights.reduce(0, +) == 0 || weights.contains(where: { $0 < 0 })
    {
      throw refuse("slerp needs weights of which none is negative, or --t")
    }
    if method.kind == .karcher, weights.contains(where: { $0 < 0 }) {
      throw refuse("karcher needs weights of which none is negative")
    }
    if method.usesDensity, !(method.density > 0 && method.density <= 1) {
      throw refuse("the density \(method.density) is not above 0 and at most 1")
    }
    if method.kind == .della, method.density < 1,
      method.density - method.epsilon <= 0 || method.density + method.epsilon >= 1 || method.epsilon < 0
    {
      throw refuse("density - epsilon and density + epsilon have to lie between 0 and 1")
    }
    if method.kind == .breadcrumbs, !(0..<1).contains(method.gamma) {
      throw refuse("gamma \(method.gamma) is not from 0 to 1")
    }
    if method.flavor != .paper, !method.hasFlavors {
      throw refuse("\(method.kind.rawValue) is the same everywhere; --flavor goes with ties, dare and della")
    }
    if method.flavor == .peft, method.kind == .della { throw refuse("PEFT has no della") }
    guard method.lambda.isFinite, method.lambda != 0 else {
      throw refuse("lambda has to be finite and not 0")
    }
    switch rank {
    case .natural: break
    case .rank(let rank) where (1...(1 << 16)).contains(rank): break
    case .energy(let share) where share > 0 && share <= 1: break
    default: throw refuse("a rank is from 1 to 65,536, and a share of the energy above 0 and at most 1")
    }
    if method.kind == .cat, rank != .natural {
      throw refuse("cat keeps every rank; svd gives the best expert of a smaller one")
    }
  }

  /// The modules that any of the experts changes.
  private static func modules(_ inputs: [MergeInput]) throws -> [Module] {
    var members: [ByteKey: [(input: Int, module: MergeInput.Module)]] = [:]
    for (index, input) in inputs.enumerated() {
      for (name, module) in input.modules { members[name, default: []].append((index, module)) }
    }
    guard !members.isEmpty else {
      throw ExpertError(.invalidMerge, path: "", found: "none of the experts changes a module")
    }
    return try members.sorted { $0.key < $1.key }.compactMap { name, members in
      guard let first = members.first else { return nil }
      for member in members.dropFirst() {
        let (one, other) = (first.module, member.module)
        guard (one.rows, one.columns, one.isEmbedding) == (other.rows, other.columns, other.isEmbedding)
        else {
          throw ExpertError(
            .mergeMismatch, path: inputs[member.input].path, name: name.text,
            expected: "\(inputs[first.input].path.printable) has \([one.rows, one.columns]) there",
            found: "\([other.rows, other.columns])")
        }
      }
      return Module(
        name: first.module.name, rows: first.module.rows, columns: first.module.columns,
        isEmbedding: first.module.isEmbedding, members: members)
    }
  }

  /// The number of modules.
  public var moduleCount: Int { modules.count }

  /// The same with weights of its own for each module.
  ///
  /// - Parameters:
  ///   - facts: What the card of the result says of how they were found.
  ///   - weights: Gives the weights of all experts for the name of a module.
  public func weighing(facts: [(String, JSON)] = [], _ weights: (String) -> [Double]) -> Merge {
    var copy = self
    copy.facts = facts
    copy.moduleWeights = Dictionary(
      modules.map { (ByteKey($0.name), weights($0.name)) }, uniquingKeysWith: { first, _ in first })
    return copy
  }
}
