import LMoECore

/// Cosines and sines by which positions turn, kept once they are computed: a prompt would spend more time on them than
/// on its norms.
///
/// One thread at a time asks for them.
final class AngleTable {
  private let rotary: Rotary
  /// Of the positions from 0 on, as they are for all texts no longer than the model was made for.
  private var kept = OwnedRows(0, 1)

  init(_ rotary: Rotary) { self.rotary = rotary }

  /// Computed by themselves, if they are not there yet.
  private static let fewPositions = 8

  /// Writes d/2 cosines and then as many sines for each position to `rows` [positions, d].
  func fill(_ positions: Range<Int>, contextLength: Int, into rows: Rows, on compute: Compute) {
    let isKept = positions.upperBound <= kept.rows.count
    guard contextLength <= rotary.maximumPositions, isKept || positions.count > Self.fewPositions else {
      return rotary.table(positions: positions, contextLength: contextLength, into: rows)
    }
    if !isKept { keep(positions.upperBound, width: rows.width, compute) }
    withExtendedLifetime(kept) {
      unsafe rows.base.update(
        from: kept.rows.row(positions.lowerBound), count: positions.count * rows.width)
    }
  }

  private func keep(_ count: Int, width: Int, _ compute: Compute) {
    let known = kept.rows.count
    let larger = OwnedRows(min(rotary.maximumPositions, max(count, 2 * known)), width)
    let (rotary, table) = (rotary, larger.rows)
    unsafe table.base.update(from: kept.rows.base, count: known * width)
    compute.forEachRow(table.count - known, width: width) { rows in
      let positions = known + rows.lowerBound..<known + rows.upperBound
      rotary.table(positions: positions, contextLength: table.count, into: table[positions])
    }
    kept = larger
  }
}
