public import LMoEFormat

/// Whether two bases are the same, and if not, which tensors differ.
public struct BaseComparison: Sendable {
  /// How they relate.
  public enum Verdict: String, Sendable {
    /// Every tensor has the same name, type and content.
    case sameBytes = "same bytes"
    /// They go back to one original.
    case sameSource = "same source"
    case different
  }

  /// A tensor that differs.
  public struct Difference: Hashable, Sendable {
    /// What differs.
    public enum Change: String, Sendable {
      case onlyInFirst = "only in first"
      case onlyInSecond = "only in second"
      case dtype
      case shape
      case values
    }

    /// Its name.
    public let name: String
    /// What differs.
    public let change: Change
    /// Its dtype or shape in the first base, where that differs.
    public let first: String?
    /// And in the second.
    public let second: String?
  }

  /// How they relate.
  public let verdict: Verdict
  /// The tensors that differ, sorted by name.
  public let differences: [Difference]
  /// Whether both source ids are known and equal.
  public let hasSameSource: Bool
  /// The first base.
  public let first: BaseIdentity
  /// The second.
  public let second: BaseIdentity

  /// Compares two bases by the hashes of their tensors.
  public init(_ first: BaseIdentity, _ second: BaseIdentity) {
    (self.first, self.second) = (first, second)
    differences = Self.differences(Array(first.manifest.tensors), Array(second.manifest.tensors))
    if let left = first.sourceID, let right = second.sourceID {
      hasSameSource = isSameID(left, right)
    } else {
      hasSameSource = false
    }
    verdict = differences.isEmpty ? .sameBytes : hasSameSource ? .sameSource : .different
  }

  /// Walks both sorted lists.
  private static func differences(_ first: [Entry], _ second: [Entry]) -> [Difference] {
    var result: [Difference] = []
    var (left, right) = (0, 0)
    while left < first.count || right < second.count {
      let order =
        left == first.count
        ? 1 : right == second.count ? -1 : compare(first[left].name, second[right].name)
      if order < 0 {
        result.append(Difference(name: first[left].name, change: .onlyInFirst, first: nil, second: nil))
      } else if order > 0 {
        result.append(Difference(name: second[right].name, change: .onlyInSecond, first: nil, second: nil))
      } else if let difference = difference(first[left], second[right]) {
        result.append(difference)
      }
      if order <= 0 { left += 1 }
      if order >= 0 { right += 1 }
    }
    return result
  }

  private static func compare(_ left: String, _ right: String) -> Int {
    if left.utf8.lexicographicallyPrecedes(right.utf8) { return -1 }
    return right.utf8.lexicographicallyPrecedes(left.utf8) ? 1 : 0
  }

  private static func difference(_ first: Entry, _ second: Entry) -> Difference? {
    func make(_ change: Difference.Change, _ left: String?, _ right: String?) -> Difference {
      Difference(name: first.name, change: change, first: left, second: right)
    }
    let (left, right) = (first.type, second.type)
    if left.dtype != right.dtype || left.geometry != right.geometry {
      return make(.dtype, left.dtypeName, right.dtypeName)
    }
    if left.shape != right.shape { return make(.shape, "\(left.shape)", "\(right.shape)") }
    return first.contentHash == second.contentHash ? nil : make(.values, nil, nil)
  }
}

extension TensorType {
  /// The name of the dtype; of a block-quantized tensor that of its scheme.
  public var dtypeName: String { geometry?.name ?? dtype.name }
}
