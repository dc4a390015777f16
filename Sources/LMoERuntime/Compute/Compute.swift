private import CLMoEKernels
import LMoECore

/// The one place where matrices are multiplied: sums of products, shared out among the workers of a pool.
final class Compute: @unchecked Sendable {
  /// One term of a sum: x·wᵀ, or x·w.
  struct Term: Sendable {
    /// Left: rows of activations.
    let x: Rows
    /// Right.
    let weight: Weight
    /// Whether the weight's rows are the outputs (a linear layer's weight).
    let isTransposed: Bool

    /// x·wᵀ, `w` of shape outputs × inputs.
    static func linear(_ x: Rows, _ weight: Weight) -> Term { Term(x: x, weight: weight, isTransposed: true) }
    /// x·w, `w` of shape depth × outputs.
    static func plain(_ x: Rows, _ weight: Weight) -> Term { Term(x: x, weight: weight, isTransposed: false) }
  }

  /// Columns of an output that become a sum of products, and what is done with them while they are warm.
  struct Product: Sendable {
    /// The terms.
    let terms: [Term]
    /// rows × outputs.
    let output: Rows
    /// Whether the sum is added to what is there.
    var accumulates = false
    /// Called for each range of columns when it is done, by the worker that did it.
    var finish: (@Sendable (_ columns: Range<Int>, _ worker: Int) -> Void)?
  }

  /// The workers.
  let pool: WorkerPool
  private let scratch: [Activations]

  init(pool: WorkerPool) {
    self.pool = pool
    scratch = (0..<pool.count).map { _ in Activations() }
  }

  /// Scratch of a worker, valid until it asks again.
  func scratch(_ worker: Int, floats: Int) -> Rows { scratch[worker].rows(1, floats) }

  /// Computes all products, which must not overlap in what they write.
  func run(_ products: [Product]) {
    let columns = products.reduce(0) { $0 + $1.output.width }
    guard let rows = products.first?.output.count, rows > 0, columns > 0 else { return }
    let step = Self.step(rows: rows, columns: columns, workers: pool.count)
    var tasks: [(product: Int, columns: Range<Int>)] = []
    for (index, product) in products.enumerated() {
      for start in stride(from: 0, to: product.output.width, by: step) {
        tasks.append((index, start..<min(start + step, product.output.width)))
      }
    }
    let work = tasks
    pool.run(items: work.count) { [self] item, worker in
      let task = work[item]
      compute(products[task.product], task.columns, worker)
    }
  }

  /// Computes a product in the calling worker.
  func compute(_ product: Product, _ columns: Range<Int>, _ worker: Int) {
    let depth = product.terms.reduce(0) { $0 + Self.depth($1) }
    let memory = scratch(worker, floats: lmoe_gemm_scratch(depth))
    let terms = unsafe product.terms.map { term in
      unsafe lmoe_term(
        x: term.x.base, x_stride: term.x.stride, weight: term.weight.base, weight_stride: term.weight.columns,
        kind: term.weight.kind.code, is_transposed: term.isTransposed ? 1 : 0, depth: Self.depth(term))
    }
    unsafe terms.withUnsafeBufferPointer { terms in
      unsafe lmoe_gemm(
        product.output.count, terms.baseAddress, terms.count, columns.lowerBound, columns.upperBound,
        product.output.base, product.output.stride, product.accumulates ? 1 : 0, memory.base)
    }
    product.finish?(columns, worker)
  }

  private static func depth(_ term: Term) -> Int {
    term.isTransposed ? term.weight.columns : term.weight.rows
  }

  /// Columns of a task: enough tasks to even out the workers, each wide enough to pay.
  private static func step(rows: Int, columns: Int, workers: Int) -> Int {
    let share = columns / (workers * (rows > 8 ? 6 : 4))
    let unit = rows > 8 ? 32 : 16
    return max(unit, share / unit * unit)
  }
}
