public import LMoECore

/// A decision about which experts of a bundle stay: some leave, or some become one.
public struct ExpertReduction: Sendable {
  /// What the decision goes by.
  public enum Criterion: String, CaseIterable, Sendable {
    /// The least used leave.
    case usage
    /// Those that add least where they are used leave.
    case saliency
    /// Of the two that are most alike one leaves, again and again.
    case similarity
    /// Those leave without which texts cost least.
    case loss

    /// Whether texts have to be read for it.
    public var needsTexts: Bool { self != .similarity }
  }

  /// Experts that become one.
  public struct Cluster: Hashable, Sendable {
    /// Their numbers.
    public let members: [Int]
    /// What each counts; their sum is 1.
    public let weights: [Double]
  }

  /// An expert to decide about.
  public struct Candidate: Sendable {
    /// Its id.
    public let id: Bits128
    /// Its name.
    public let name: String
    /// Whether it stays whatever the numbers are: the gate has it always on.
    public let stays: Bool
    /// Its share of the gate's weights; nil where no texts were read.
    public let use: Double?
    /// What the criterion says of it, the lowest leave; of no consequence for `similarity`.
    public let value: Double

    /// Puts the numbers together.
    public init(id: Bits128, name: String, stays: Bool = false, use: Double? = nil, value: Double = 0) {
      (self.id, self.name, self.stays, self.use, self.value) = (id, name, stays, use, value)
    }
  }

  /// Those that were decided about.
  public let candidates: [Candidate]
  /// The numbers of those that leave, in the order in which they do.
  public let leaving: [Int]
  /// Those that become one.
  public let clusters: [Cluster]

  /// The lowest leave, by what the criterion says of each.
  ///
  /// - Throws: `ExpertError` with `invalid-pruning` if that many cannot be left.
  public init(_ candidates: [Candidate], keeping count: Int, path: String) throws {
    try Self.check(candidates, count, path)
    self.candidates = candidates
    // Of equal ones the last leaves first.
    let order = candidates.indices.filter { !candidates[$0].stays }
      .sorted { (candidates[$0].value, -$0) < (candidates[$1].value, -$1) }
    leaving = Array(order.prefix(candidates.count - count))
    clusters = []
  }

  /// The most alike first: one of a pair leaves, or the two become one.
  ///
  /// Of a pair the less used leaves, or the smaller where nobody counted. Clusters are as alike as their members are
  /// in the mean; in one each member counts as much as it is used.
  ///
  /// - Throws: `ExpertError` with `invalid-pruning` if that many cannot be left.
  public init(
    _ candidates: [Candidate], keeping count: Int, similarity: ExpertSimilarity, merging: Bool, path: String
  ) throws {
    try Self.check(candidates, count, path)
    self.candidates = candidates
    var groups = candidates.indices.map { [$0] }
    var leaving: [Int] = []
    while groups.count > count {
      guard let pair = Self.closest(groups, candidates, similarity, merging: merging) else { break }
      if merging {
        groups[pair.first] += groups[pair.second]
        groups.remove(at: pair.second)
        continue
      }
      let (first, second) = (groups[pair.first][0], groups[pair.second][0])
      let leaves = Self.lesser(first, second, candidates, similarity)
      leaving.append(leaves)
      groups.removeAll { $0 == [leaves] }
    }
    self.leaving = leaving
    clusters = groups.filter { $0.count > 1 }.map { members in
      let members = members.sorted()
      let uses = members.map { candidates[$0].use ?? 0 }
      let total = uses.reduce(0, +)
      return Cluster(
        members: members,
        weights: total > 0 ? uses.map { $0 / total } : members.map { _ in 1 / Double(members.count) })
    }
  }

  private static func check(_ candidates: [Candidate], _ count: Int, _ path: String) throws {
    func refuse(_ found: String) -> ExpertError { ExpertError(.invalidPruning, path: path, found: found) }
    guard count >= 1 else { throw refuse("at least one expert has to be left") }
    guard count < candidates.count else {
      throw refuse("it has \(candidates.count) experts, and \(count) are to be left")
    }
    let fixed = candidates.count { $0.stays }
    guard fixed <= count else {
      throw refuse("\(fixed) of its experts are always on, and only \(count) are to be left")
    }
  }

  /// The two groups that are most alike, of which something may leave; of equal pairs the first.
  private static func closest(
    _ groups: [[Int]], _ candidates: [Candidate], _ similarity: ExpertSimilarity, merging: Bool
  ) -> (first: Int, second: Int)? {
    var best: (first: Int, second: Int, value: Double)?
    for first in groups.indices {
      for second in groups.indices.dropFirst(first + 1) {
        let fixed = [first, second].count { group in groups[group].contains { candidates[$0].stays } }
        if fixed == 2 || (merging && fixed > 0) { continue }
        var sum = 0.0
        for one in groups[first] { for other in groups[second] { sum += similarity.cosines[one][other] } }
        let value = sum / Double(groups[first].count * groups[second].count)
        if best.map({ value > $0.value }) ?? true { best = (first, second, value) }
      }
    }
    return best.map { ($0.first, $0.second) }
  }

  private static func lesser(
    _ first: Int, _ second: Int, _ candidates: [Candidate], _ similarity: ExpertSimilarity
  ) -> Int {
    if candidates[first].stays { return second }
    if candidates[second].stays { return first }
    let size = { (index: Int) in candidates[index].use ?? similarity.norms[index] }
    return size(first) < size(second) ? first : second
  }
}
