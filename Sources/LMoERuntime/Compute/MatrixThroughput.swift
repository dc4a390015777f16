private import CLMoEKernels
public import LMoECore
import LMoEFormat

/// The rate at which large matrices are multiplied, as the kernels here do it: what a model could reach if it did nothing
/// else. (What no kernel could exceed is ``MultiplyAddPeak``.)
public enum MatrixThroughput {
  /// Multiplications and additions a second that all workers of `pool` do together, the best of `rounds`.
  ///
  /// The product has the rows of a long prompt and a weight of `width` × `width` in float16.
  public static func measure(on pool: WorkerPool = .shared, width: Int = 2048, rounds: Int = 5) -> Double {
    measure(.f16, on: pool, width: width, rounds: rounds)
  }

  /// The same of integers, with a weight of the type that the layers of `model` have; nil if they are no such.
  public static func measureIntegers(of model: Model, on pool: WorkerPool, rounds: Int = 5) -> Double? {
    let kind = model.blocks.first?.feedForward.up.weight.kind ?? .f16
    guard case .blocks(let blocks) = kind, kind.hasIntegers else { return nil }
    // A row is a block of one scheme, which says how long it is.
    return measure(
      kind, on: pool, width: blocks.scheme == .i8Row ? blocks.elements : 2048, rounds: rounds)
  }

  private static func measure(_ kind: Weight.Kind, on pool: WorkerPool, width: Int, rounds: Int) -> Double {
    let compute = Compute(pool: pool, usesIntegers: true)
    let rows = Model.passRows
    let x = OwnedRows(rows, width)
    let y = OwnedRows(rows, width)
    let buffer = RawBuffer(count: kind.bytes(width * width))
    for row in 0..<rows {
      for column in 0..<width { x.rows[row, column] = Float((row &* 31 &+ column &* 17) % 64) / 64 }
    }
    // 1 in float16, and a number of that size as the scale of blocks.
    unsafe buffer.bytes.bindMemory(to: UInt16.self).update(repeating: 0x3C00)
    guard let base = unsafe buffer.bytes.baseAddress else { return 0 }
    let weight = unsafe Weight(base, kind: kind, rows: width, columns: width, owner: buffer)
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
