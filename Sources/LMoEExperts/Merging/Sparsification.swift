private import CLMoEKernels
import LMoECore

/// Which entries of one delta stay, and what they are multiplied with: found in a look at all of it, applied to
/// rows as they come by.
struct Sparsification: Sendable {
  private enum Rule: Sendable {
    case none
    /// Magnitudes within a range stay.
    case magnitudes(least: Float, most: Float)
    /// Any may go, all with the same chance; those that stay are divided by it.
    case random(key: UInt64, density: Double)
    /// Any may go; the larger in its row, the likelier it stays. Those that stay are divided by their chance where
    /// that is asked for.
    case ranked(key: UInt64, density: Double, epsilon: Double, divides: Bool)
  }

  private var rule: Rule
  private var factor: Float = 1
  private let columns: Int

  /// Looks at a delta.
  ///
  /// - Parameter key: What random choices follow from.
  init(_ method: MergeMethod, of delta: any MatrixRows, key: UInt64) {
    columns = delta.columns
    let count = delta.rows * delta.columns
    let isMergekit = method.flavor == .mergekit
    guard method.density < 1, count > 0 else {
      rule = .none
      return
    }
    switch method.kind {
    case .ties, .magnitude, .knots:
      var kept = Int(method.density * Double(count))
      if isMergekit, method.density > 0 { kept = max(1, kept) }
      rule = Self.magnitudes(of: delta, from: count - kept, count: kept)
    case .breadcrumbs:
      let kept = Int(method.density * Double(count))
      // Fewer of the largest go where the density asks for them.
      let bottom = max(0, count - kept - Int(method.gamma * Double(count)))
      rule = Self.magnitudes(of: delta, from: bottom, count: kept)
    case .dareLinear, .dareTies:
      rule = .random(key: key, density: method.density)
    case .della:
      rule = .ranked(key: key, density: method.density, epsilon: method.epsilon, divides: !isMergekit)
    case .cat, .svd, .linear, .taskArithmetic, .slerp, .karcher:
      rule = .none
    }
    if isMergekit, method.isRandom { keepSum(of: delta) }
  }

  /// Those whose magnitudes are from the `from`th on, counted from the smallest.
  private static func magnitudes(of delta: any MatrixRows, from first: Int, count: Int) -> Rule {
    guard count > 0 else { return .magnitudes(least: .infinity, most: 0) }
    let found = delta.magnitudes(at: [first, first + count - 1])
    return .magnitudes(least: found[0], most: found[1])
  }

  /// Makes what stays as large, in Σ|·|, as all of it was.
  private mutating func keepSum(of delta: any MatrixRows) {
    var (before, after) = (0.0, 0.0)
    let rule = self
    unsafe delta.forEachTile { range, values in
      let count = range.count * delta.columns
      before += unsafe lmoe_sum_magnitudes(values, count)
      let copy = FloatBuffer(count)
      unsafe copy.floats.update(from: values, count: count)
      unsafe rule.apply(to: copy.floats, range)
      after += unsafe lmoe_sum_magnitudes(copy.floats, count)
    }
    if before >= 1e-7, after >= 1e-7 { factor = Float(before / after) }
  }

  /// Drops entries of some rows.
  @unsafe func apply(to values: UnsafeMutablePointer<Float>, _ rows: Range<Int>) {
    let count = rows.count * columns
    switch rule {
    case .none: return
    case .magnitudes(let least, let most): unsafe lmoe_trim(values, count, least, most)
    case .random(let key, let density):
      unsafe lmoe_dropout(
        values, count, key, UInt64(rows.lowerBound * columns), Float(1 - density), values)
    case .ranked(let key, let density, let epsilon, let divides):
      for row in rows {
        unsafe Self.drop(
          values + (row - rows.lowerBound) * columns, columns, key: key, first: UInt64(row * columns),
          least: density - epsilon, most: density + epsilon, divides: divides)
      }
    }
    if factor != 1 { unsafe lmoe_scale(values, factor, count, values) }
  }

  /// One row of `ranked`: chances rise evenly from the smallest entry to the largest.
  @unsafe private static func drop(
    _ values: UnsafeMutablePointer<Float>, _ count: Int, key: UInt64, first: UInt64, least: Double,
    most: Double, divides: Bool
  ) {
    // Sorted by magnitude, equal ones by place.
    let order = (0..<count).map { UInt64(unsafe values[$0].magnitude.bitPattern) << 32 | UInt64($0) }.sorted()
    for (rank, word) in order.enumerated() {
      let place = Int(word & 0xFFFF_FFFF)
      let chance = least + (count > 1 ? Double(rank) / Double(count - 1) : 0) * (most - least)
      if Self.uniform(key, first + UInt64(place)) >= chance {
        unsafe values[place] = 0
      } else if divides {
        unsafe values[place] = Float(Double(values[place]) / chance)
      }
    }
  }

  /// A number in [0, 1) that follows from the two alone.
  private static func uniform(_ key: UInt64, _ number: UInt64) -> Double {
    var bits = (key ^ number &* 0x9E37_79B9_7F4A_7C15)
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return Double((bits ^ (bits >> 31)) >> 11) * 0x1p-53
  }
}

extension MatrixRows {
  /// The magnitudes that stand at these places when all are sorted, the smallest first.
  func magnitudes(at places: [Int]) -> [Float] {
    var bins = [UInt64](repeating: 0, count: Int(LMOE_MAGNITUDE_BINS))
    unsafe bins.withUnsafeMutableBufferPointer { bins in
      unsafe forEachTile { range, values in
        unsafe lmoe_magnitude_histogram(values, range.count * columns, bins.baseAddress)
      }
    }
    var found: [UInt32: [Float]] = [:]
    return places.map { place in
      var (left, bin) = (UInt64(max(0, place)), 0)
      while bin < bins.count - 1, left >= bins[bin] {
        left -= bins[bin]
        bin += 1
      }
      let values = found[UInt32(bin)] ?? collect(UInt32(bin), Int(bins[bin]))
      found[UInt32(bin)] = values
      return values.isEmpty ? 0 : values[min(Int(left), values.count - 1)]
    }
  }

  /// The magnitudes of a bin, sorted.
  private func collect(_ bin: UInt32, _ count: Int) -> [Float] {
    var values: [Float] = []
    values.reserveCapacity(count)
    let room = FloatBuffer(height * columns + 1)
    unsafe forEachTile { range, tile in
      let written = unsafe lmoe_collect_magnitudes(tile, range.count * columns, bin, room.floats)
      unsafe values.append(contentsOf: UnsafeBufferPointer(start: room.floats, count: written))
    }
    return values.sorted()
  }
}
