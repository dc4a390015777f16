private import CLMoEKernels
public import LMoECore

/// The rate at which large matrices are multiplied: what a model could reach if it did nothing else.
public enum MatrixThroughput {
  /// Multiplications and additions a second that all workers of `pool` do together, the best of `rounds`.
  ///
  /// The product has the rows of a long prompt and a weight of `width` × `width` in float16.
  public static func measure(on pool: WorkerPool = .shared, width: Int = 2048, rounds: Int = 5) -> Double {
    let compute = Compute(pool: pool)
    let rows = Model.passRows
    let x = OwnedRows(rows, width)
    let y = OwnedRows(rows, width)
    let buffer = RawBuffer(count: Weight.Kind.f16.bytes(width * width))
    for row in 0..<rows {
      for column in 0..<width { x.rows[row, column] = Float((row &* 31 &+ column &* 17) % 64) / 64 }
    }
    // 1 in float16.
    unsafe buffer.bytes.bindMemory(to: UInt16.self).update(repeating: 0x3C00)
    guard let base = unsafe buffer.bytes.baseAddress else { return 0 }
    let weight = unsafe Weight(base, kind: .f16, rows: width, columns: width, owner: buffer)
    let product = Compute.Product(terms: [.linear(x.rows, weight)], output: y.rows)
    var best = Double.infinity
    for _ in 0...rounds {
      let start = monotonicNanoseconds()
      compute.run([product])
      best = min(best, Double(monotonicNanoseconds() - start) * 1e-9)
    }
    return withExtendedLifetime((x, y, weight)) { 2 * Double(rows * width * width) / best }
  }
}
