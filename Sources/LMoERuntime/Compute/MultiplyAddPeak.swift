private import CLMoEKernels
public import LMoECore

/// How many multiplications and additions of floats the processor's multipliers do at most, with all operands in
/// registers: the floor of whatever consists of products of float matrices.
///
/// No product of matrices gets there, for its operands have to be loaded; what it gets where another thread has half of
/// the core's instruction decoder is said by ``MatrixThroughput``.
public enum MultiplyAddPeak {
  /// Multiplications and additions a second that all workers of `pool` do together, the best of `rounds`.
  ///
  /// Two threads that were put on one core stay there for some milliseconds; the rounds should last longer.
  public static func measure(on pool: WorkerPool = .shared, rounds: Int = 10) -> Double {
    // Some two milliseconds with vectors.
    let turns = 1_000_000
    let counts = OwnedRows(pool.count, 1)
    let counted = counts.rows
    var best = 0.0
    for _ in 0..<max(1, rounds) {
      let start = monotonicNanoseconds()
      pool.run { worker in
        var values: (Float, Float) = (0.999, 0.001)
        unsafe withUnsafeMutableBytes(of: &values) { bytes in
          guard let first = unsafe bytes.bindMemory(to: Float.self).baseAddress else { return }
          counted[worker, 0] = unsafe Float(lmoe_multiply_adds(turns, first))
        }
      }
      let seconds = Double(monotonicNanoseconds() - start) * 1e-9
      best = max(best, Double((0..<pool.count).reduce(0) { $0 + counted[$1, 0] }) / seconds)
    }
    return withExtendedLifetime(counts) { best }
  }
}
