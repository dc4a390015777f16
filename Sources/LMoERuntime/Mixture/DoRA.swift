private import CLMoEKernels
import LMoECore

/// The norms that the magnitudes of DoRA stand in for: those of the base's weight with the delta added.
enum DoRA {
  /// c − 1 for c = m / ‖W + s·B·A‖: of numbers that are almost equal, and so in double precision.
  static func rescaling(_ magnitude: Float, _ norm: Double) -> Float {
    Float((Double(magnitude) - norm) / norm)
  }

  /// ‖W + s·B·A‖ of each row, W and the factors as they are stored.
  static func rowNorms(
    _ weight: Weight, _ overlay: RowOverlay?, _ factors: ExpertFactors, scaling: Float, _ compute: Compute
  ) -> [Double] {
    let norms = Guarded([Double](repeating: 0, count: weight.rows))
    let tile = 64
    let (a, rank) = (factors.a, factors.rank)
    let left = factors.floatsOfB.map { $0 * scaling }
    compute.pool.run(items: (weight.rows + tile - 1) / tile) { item, worker in
      let rows = item * tile..<min((item + 1) * tile, weight.rows)
      let sum = OwnedRows(rows.count, weight.columns)
      let factor = OwnedRows(rows.count, rank)
      for row in rows {
        unsafe weight.copyRow(row, to: sum.rows.row(row - rows.lowerBound))
        for index in 0..<rank { factor.rows[row - rows.lowerBound, index] = left[row * rank + index] }
        guard let overlay, let place = overlay.indices.lastIndex(of: row) else { continue }
        for (column, difference) in overlay.differences[place..<place + 1].floats.enumerated() {
          sum.rows[row - rows.lowerBound, column] += difference
        }
      }
      // Rows do not keep their memory.
      withExtendedLifetime((sum, factor)) {
        compute.compute(
          Compute.Product(terms: [.plain(factor.rows, a)], output: sum.rows, accumulates: true),
          0..<weight.columns, worker)
        for row in rows {
          var isFinite: Int32 = 1
          let norm = unsafe lmoe_sum_squares(
            sum.rows.row(row - rows.lowerBound), weight.columns, Weight.Kind.f32.code, &isFinite
          ).squareRoot()
          norms.withValue { $0[row] = norm }
        }
      }
    }
    return norms.withValue { $0 }
  }

  /// ‖(W + s·(B·A)ᵀ)[:, h]‖ of each hidden column of an embedding W: vocabulary × hidden.
  static func columnNorms(
    _ weight: Weight, _ overlay: RowOverlay?, a: Weight, b: Weight, scaling: Float, _ compute: Compute
  ) -> [Float] {
    let factors = a.floats
    let tile = 256
    let tiles = (weight.rows + tile - 1) / tile
    // Added up in order afterwards: the same bits whoever is first.
    let parts = Guarded([[Double]](repeating: [], count: tiles))
    compute.pool.run(items: tiles) { item, worker in
      let rows = item * tile..<min((item + 1) * tile, weight.rows)
      let table = OwnedRows(rows.count, weight.columns)
      let left = OwnedRows(rows.count, a.rows)
      for row in rows {
        unsafe weight.copyRow(row, to: table.rows.row(row - rows.lowerBound))
        for rank in 0..<a.rows {
          left.rows[row - rows.lowerBound, rank] = factors[rank * a.columns + row] * scaling
        }
        guard let overlay, let place = overlay.indices.lastIndex(of: row) else { continue }
        for (column, difference) in overlay.differences[place..<place + 1].floats.enumerated() {
          table.rows[row - rows.lowerBound, column] += difference
        }
      }
      withExtendedLifetime((table, left)) {
        compute.compute(
          Compute.Product(terms: [.linear(left.rows, b)], output: table.rows, accumulates: true),
          0..<weight.columns, worker)
      }
      let part = withExtendedLifetime(table) {
        var own = [Double](repeating: 0, count: weight.columns)
        for row in 0..<rows.count {
          for column in own.indices {
            own[column] += Double(table.rows[row, column]) * Double(table.rows[row, column])
          }
        }
        return own
      }
      parts.withValue { $0[item] = part }
    }
    let sums = parts.withValue { parts in
      parts.reduce(into: [Double](repeating: 0, count: weight.columns)) { sums, part in
        for column in part.indices { sums[column] += part[column] }
      }
    }
    return sums.map { Float($0.squareRoot()) }
  }
}
