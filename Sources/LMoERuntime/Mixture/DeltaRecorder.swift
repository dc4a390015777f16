private import CLMoEKernels
import LMoECore

/// Takes down how much experts add where they are used: |g|·‖s·B(A·x)‖₂ of each token that a gate routes to them.
///
/// ‖B·u‖ = ‖R·u‖ with R the Cholesky factor of BᵀB, so that it takes r numbers and not as many as the layer has
/// outputs. With magnitudes (DoRA) an expert adds (c − 1) ⊙ W₀x + c ⊙ s·B(A·x), which takes them all.
final class DeltaRecorder {
  private struct Sums {
    var values: [Double]
    var counts: [Int]
  }

  private let columnCount: Int
  private var sums: [String: Sums] = [:]
  private var triangles: [String: [[Double]]] = [:]

  init(columnCount: Int) { self.columnCount = columnCount }

  /// The mean over the tokens that were routed to an expert, summed over the modules.
  func saliency(of column: Int) -> Double {
    // In the order of names, so that it is the same every time.
    sums.sorted { $0.key < $1.key }.reduce(0) { sum, item in
      let count = item.value.counts[column]
      return count > 0 ? sum + item.value.values[column] / Double(count) : sum
    }
  }

  /// Looks at one linear layer.
  ///
  /// - Parameters:
  ///   - u: x·Āᵀ of the experts that have a weight other than zero in some row [T, R].
  ///   - weights: The gate's weights [T, experts].
  func record(
    _ linear: Linear, _ experts: LinearExperts, _ u: Rows, _ weights: Rows, _ x: Rows, _ compute: Compute
  ) {
    let triangles = triangles(linear.name, experts)
    var own =
      sums[linear.name]
      ?? Sums(
        values: Array(repeating: 0, count: columnCount), counts: Array(repeating: 0, count: columnCount))
    for (index, slot) in experts.slots.enumerated() {
      guard (0..<weights.count).contains(where: { weights[$0, slot.expert] != 0 }) else { continue }
      let whole = slot.rescaling.map { lengths(linear, slot, $0, u, x, compute) }
      for row in 0..<u.count {
        let weight = Double(weights[row, slot.expert]).magnitude
        guard weight != 0 else { continue }
        let length =
          whole.map { $0[row] }
          ?? Double(slot.scaling).magnitude * Self.length(triangles[index], u, row, slot.ranks)
        own.values[slot.expert] += weight * length
        own.counts[slot.expert] += 1
      }
    }
    sums[linear.name] = own
  }

  /// ‖R·u‖ for a row of U.
  private static func length(_ triangle: [Double], _ u: Rows, _ row: Int, _ ranks: Range<Int>) -> Double {
    let count = ranks.count
    var sum = 0.0
    for first in 0..<count {
      var value = 0.0
      for second in first..<count {
        value += triangle[first * count + second] * Double(u[row, ranks.lowerBound + second])
      }
      sum += value * value
    }
    return sum.squareRoot()
  }

  /// What each row gains of an expert with magnitudes, in length.
  private func lengths(
    _ linear: Linear, _ slot: LinearExperts.Slot, _ rescaling: Weight, _ u: Rows,
    _ x: Rows, _ compute: Compute
  ) -> [Double] {
    let memory = OwnedRows(u.count, linear.outputs)
    let delta = OwnedRows(u.count, linear.outputs)
    compute.run([
      Compute.Product(terms: [.linear(x, linear.weight)], output: memory.rows),
      Compute.Product(terms: [slot.factors.term(u.columns(slot.ranks))], output: delta.rows),
    ])
    let factors = rescaling.floats
    return (0..<u.count).map { row in
      var sum = 0.0
      for column in factors.indices {
        let value =
          Double(factors[column]) * Double(memory.rows[row, column])
          + Double(slot.scaling) * Double(delta.rows[row, column])
        sum += value * value
      }
      return sum.squareRoot()
    }
  }

  /// R of each slot, by rows.
  private func triangles(_ name: String, _ experts: LinearExperts) -> [[Double]] {
    if let known = triangles[name] { return known }
    let made = experts.slots.map { slot in
      slot.rescaling == nil ? Self.triangle(slot.factors.transposedB) : []
    }
    triangles[name] = made
    return made
  }

  /// The upper triangle R with RᵀR = BᵀB, from Bᵀ: a direction that depends on those before it gets a row of zeros.
  static func triangle(_ transposed: Weight) -> [Double] {
    let (count, width) = (transposed.rows, transposed.columns)
    let values = transposed.floats
    var gram = [Double](repeating: 0, count: count * count)
    unsafe values.withUnsafeBufferPointer { values in
      for first in 0..<count {
        for second in first..<count {
          var sum = 0.0
          for column in 0..<width {
            unsafe sum += Double(values[first * width + column]) * Double(values[second * width + column])
          }
          gram[first * count + second] = sum
        }
      }
    }
    var result = [Double](repeating: 0, count: count * count)
    for row in 0..<count {
      var pivot = gram[row * count + row]
      for above in 0..<row { pivot -= result[above * count + row] * result[above * count + row] }
      guard pivot > 1e-13 * gram[row * count + row] else { continue }
      let root = pivot.squareRoot()
      result[row * count + row] = root
      for column in row + 1..<max(count, row + 1) {
        var value = gram[row * count + column]
        for above in 0..<row { value -= result[above * count + row] * result[above * count + column] }
        result[row * count + column] = value / root
      }
    }
    return result
  }
}
