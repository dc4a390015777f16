/// The candidate that someone who wrote `name` most likely meant, or nil if none is plausible.
///
/// In this order: one that differs in case only; the only one that ends in a dot and `name`, as modules are
/// called by their last part; the only one that begins with `name`; and the closest by the letters inserted,
/// left out, replaced, or swapped with their neighbour, if they are at most a third of `name`, or one. Among
/// the equally close it is one that is closer when case is ignored, then the first.
///
///     closestName(to: "maht", among: ["code", "math"])  // "math"
///     closestName(to: "q_proj", among: ["layers.0.k_proj", "layers.0.q_proj"])  // "layers.0.q_proj"
///
/// It is meant for error messages, whose names anyone may have written: names of more than 256 scalars, and
/// candidates after the first 100,000, are not looked at, and comparisons end when they have become a lot of
/// work.
public func closestName(to name: String, among candidates: some Sequence<String>) -> String? {
  guard var search = NameSearch(for: name) else { return nil }
  for candidate in candidates.prefix(100_000) { search.consider(candidate) }
  return search.result
}

/// What has been found of a name.
private struct NameSearch {
  private static let maximumLength = 256

  private let name: String
  private let scalars: [Unicode.Scalar]
  private let lowercased: String
  private var sameButForCase: String?
  private var endings = Finding.none
  private var beginnings = Finding.none
  private var closest: (name: String, distance: Int, distanceWithoutCase: Int)?
  /// Cells of distance tables that may still be filled.
  private var budget = 20_000_000

  /// A candidate that must be the only one.
  private enum Finding {
    case none
    case one(String)
    case several

    mutating func add(_ candidate: String) {
      switch self {
      case .none: self = .one(candidate)
      case .one(let other): if !other.hasSameBytes(as: candidate) { self = .several }
      case .several: break
      }
    }

    var name: String? { if case .one(let name) = self { name } else { nil } }
  }

  init?(for name: String) {
    guard let scalars = Self.scalars(name), !scalars.isEmpty else { return nil }
    self.name = name
    self.scalars = scalars
    lowercased = name.lowercased()
  }

  /// The scalars of a name that is not too long.
  private static func scalars(_ name: String) -> [Unicode.Scalar]? {
    let scalars = Array(name.unicodeScalars.prefix(maximumLength + 1))
    return scalars.count > maximumLength ? nil : scalars
  }

  var result: String? { sameButForCase ?? endings.name ?? beginnings.name ?? closest?.name }

  mutating func consider(_ candidate: String) {
    if candidate.utf8.count > name.utf8.count {
      if candidate.utf8.starts(with: name.utf8) { beginnings.add(candidate) }
      let ending = candidate.utf8.suffix(name.utf8.count + 1)
      if ending.first == UInt8(ascii: "."), ending.dropFirst().elementsEqual(name.utf8) {
        endings.add(candidate)
      }
    }
    guard let other = Self.scalars(candidate) else { return }
    if sameButForCase == nil && candidate.lowercased().hasSameBytes(as: lowercased) {
      sameButForCase = candidate
    }
    // Whoever wrote one letter did not mean another.
    let limit = closest?.distance ?? min(max(1, scalars.count / 3), scalars.count - 1)
    guard let distance = distance(scalars, other, limit) else { return }
    let folded = Array(candidate.lowercased().unicodeScalars)
    let distanceWithoutCase = self.distance(Array(lowercased.unicodeScalars), folded, limit) ?? .max
    if let closest, (closest.distance, closest.distanceWithoutCase) <= (distance, distanceWithoutCase) {
      return
    }
    closest = (candidate, distance, distanceWithoutCase)
  }

  /// The distance of two names if it is at most `limit`, and they can be compared within the budget.
  private mutating func distance(
    _ left: [Unicode.Scalar], _ right: [Unicode.Scalar], _ limit: Int
  ) -> Int? {
    var (left, right) = (left[...], right[...])
    if abs(left.count - right.count) > limit { return nil }
    while let first = left.first, first == right.first {
      left.removeFirst()
      right.removeFirst()
    }
    while let last = left.last, last == right.last {
      left.removeLast()
      right.removeLast()
    }
    let cells = left.count * min(2 * limit + 1, right.count)
    guard cells <= budget else { return nil }
    budget -= cells
    return alignmentDistance(Array(left), Array(right), limit: limit)
  }
}

/// The optimal string alignment distance if it is at most `limit`.
///
/// d(i, j) is that of the first i scalars of one and the first j of the other:
///
///     d(i, j) = min(d(i-1, j) + 1, d(i, j-1) + 1, d(i-1, j-1) + (0 if equal, else 1),
///                   d(i-2, j-2) + 1 if the last two are swapped)
///
/// It is at least |i - j|, so only a band of 2 · limit + 1 columns is filled, row by row.
private func alignmentDistance(
  _ left: [Unicode.Scalar], _ right: [Unicode.Scalar], limit: Int
) -> Int? {
  if left.isEmpty || right.isEmpty {
    let distance = max(left.count, right.count)
    return distance <= limit ? distance : nil
  }
  let tooFar = limit + 1
  var row = Array(0...right.count)
  var (oneAbove, twoAbove) = (row, row)
  var leastAbove = 0
  for i in 1...left.count {
    (row, oneAbove, twoAbove) = (twoAbove, row, oneAbove)
    let low = max(1, i - limit)
    let high = min(right.count, i + limit)
    if low > high { return nil }
    row[low - 1] = low == 1 ? i : tooFar
    var least = row[low - 1]
    for j in low...high {
      let isEqual = left[i - 1] == right[j - 1]
      var distance = min(oneAbove[j] + 1, row[j - 1] + 1, oneAbove[j - 1] + (isEqual ? 0 : 1))
      if i > 1, j > 1, left[i - 1] == right[j - 2], left[i - 2] == right[j - 1] {
        distance = min(distance, twoAbove[j - 2] + 1)
      }
      row[j] = distance
      least = min(least, distance)
    }
    // The next row reaches one column further.
    if high < right.count { row[high + 1] = tooFar }
    // A swap comes from two rows above.
    if least > limit && leastAbove >= limit { return nil }
    leastAbove = least
  }
  return row[right.count] <= limit ? row[right.count] : nil
}
