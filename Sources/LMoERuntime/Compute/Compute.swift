import CLMoEKernels
import LMoECore

/// The one place where matrices are multiplied: sums of products, shared out among the workers of a pool.
///
/// What workers read has no references, for several cores that count one reference wait for each other longer
/// than a small product takes. Whoever asks for a product keeps its weights and rows.
final class Compute: @unchecked Sendable {
  /// One term of a sum: x·wᵀ, or x·w.
  ///
  /// A view of both.
  @safe struct Term: @unchecked Sendable {
    /// Nothing else is in it: the kernels read arrays of terms as they are.
    @unsafe var kernel: lmoe_term

    private init(_ x: Rows, _ weight: Weight.View, isTransposed: Bool) {
      unsafe kernel = lmoe_term(
        x: x.base, x_stride: x.stride, weight: weight.base, weight_stride: weight.stride,
        kind: weight.kind.code, is_transposed: isTransposed ? 1 : 0,
        depth: isTransposed ? weight.columns : weight.rows, block: weight.kind.blockElements,
        weight_first: weight.first, x_integers: nil)
    }

    /// Whether its weight is quantized.
    var hasBlocks: Bool { unsafe kernel.block > 0 }

    /// The length of the sums.
    var depth: Int { unsafe kernel.depth }

    /// The same for rows of x from one on.
    func from(row: Int) -> Term {
      var copy = self
      unsafe copy.kernel.x += row * kernel.x_stride
      if let integers = unsafe kernel.x_integers {
        unsafe copy.kernel.x_integers = integers + row * lmoe_integer_row_bytes(kernel.depth)
      }
      return copy
    }

    /// x·wᵀ, `w` of shape outputs × inputs (a linear layer's weight).
    static func linear(_ x: Rows, _ weight: Weight) -> Term { linear(x, weight.view) }
    static func linear(_ x: Rows, _ weight: Weight.View) -> Term { Term(x, weight, isTransposed: true) }
    /// x·w, `w` of shape depth × outputs.
    static func linear(_ x: Rows, _ y: Rows) -> Term { linear(x, Weight.View(y)) }
    static func plain(_ x: Rows, _ weight: Weight) -> Term { plain(x, weight.view) }
    static func plain(_ x: Rows, _ weight: Weight.View) -> Term { Term(x, weight, isTransposed: false) }
    static func plain(_ x: Rows, _ y: Rows) -> Term { plain(x, Weight.View(y)) }
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

    /// Multiplications of a column.
    fileprivate var costPerColumn: Int { output.count * terms.reduce(1) { $0 + $1.depth } }
  }

  /// Some rows and columns of a product.
  private struct Task: Sendable {
    let product: Int
    let terms: Range<Int>
    let output: Rows
    /// The first of the rows, by which the terms' rows are further on.
    let row: Int
    let columns: Range<Int>
    let accumulates: Bool
    let finishes: Bool
  }

  /// The workers.
  let pool: WorkerPool
  /// Where the time goes, if somebody wants to know.
  var timer: StageTimer?
  /// Whether products with quantized weights are of integers, with x in fifteen bits: that is faster.
  let usesIntegers: Bool
  /// x in fifteen bits, of the products that run.
  private let integers = IntegerRows()
  /// Scratch of the kernels, a part for each worker.
  private let scratch: OwnedRows
  let scratchRows: Rows

  init(pool: WorkerPool, usesIntegers: Bool = false) {
    self.pool = pool
    self.usesIntegers = usesIntegers
    scratch = OwnedRows(pool.count, lmoe_gemm_scratch(Self.deepest))
    scratchRows = scratch.rows
  }

  /// No sum is longer.
  private static let deepest = 1 << 24

  /// Computes all products, which must not overlap in what they write.
  func run(_ products: [Product]) {
    let stage = timer?.enter(.products)
    defer { if let stage { timer?.leave(to: stage) } }
    guard products.contains(where: { $0.output.count > 0 && $0.output.width > 0 }) else { return }
    var left = products.reduce(0) { $0 + $1.output.width * $1.costPerColumn }
    var terms: [Term] = []
    var counts: [Int] = []
    var tasks: [Task] = []
    for (index, product) in products.enumerated() where product.output.count > 0 && product.output.width > 0 {
      let range = terms.count..<terms.count + product.terms.count
      terms += product.terms
      for _ in product.terms { counts.append(product.output.count) }
      for rows in rowParts(product, isAlone: products.count == 1) {
        let cost = product.costPerColumn * rows.count / product.output.count
        var start = 0
        while start < product.output.width {
          let end = min(start + step(for: product, cost: cost, of: left), product.output.width)
          tasks.append(
            Task(
              product: index, terms: range, output: product.output[rows], row: rows.lowerBound,
              columns: start..<end, accumulates: product.accumulates, finishes: product.finish != nil))
          left -= cost * (end - start)
          start = end
        }
      }
    }
    if usesIntegers { integers.add(to: &terms, counts, pool) }
    let (all, factors) = (tasks, terms)
    pool.run(items: all.count) { [self] item, worker in
      let task = all[item]
      if task.row == 0 {
        unsafe factors.withUnsafeBufferPointer { factors in
          unsafe multiply(
            UnsafeBufferPointer(rebasing: factors[task.terms]), task.output, task.columns,
            accumulates: task.accumulates, worker)
        }
      } else {
        let terms = factors[task.terms].map { $0.from(row: task.row) }
        unsafe terms.withUnsafeBufferPointer { terms in
          unsafe multiply(terms, task.output, task.columns, accumulates: task.accumulates, worker)
        }
      }
      if task.finishes { products[task.product].finish?(task.columns, worker) }
    }
  }

  /// Computes columns of a product in the calling worker.
  func compute(_ product: Product, _ columns: Range<Int>, _ worker: Int) {
    unsafe product.terms.withUnsafeBufferPointer { terms in
      unsafe multiply(terms, product.output, columns, accumulates: product.accumulates, worker)
    }
    product.finish?(columns, worker)
  }

  /// Computes all columns of a product of one term in the calling worker.
  func compute(_ term: Term, into output: Rows, accumulates: Bool = false, _ worker: Int) {
    unsafe withUnsafePointer(to: term) { term in
      unsafe multiply(
        UnsafeBufferPointer(start: term, count: 1), output, 0..<output.width, accumulates: accumulates, worker
      )
    }
  }

  @unsafe private func multiply(
    _ terms: UnsafeBufferPointer<Term>, _ output: Rows, _ columns: Range<Int>, accumulates: Bool,
    _ worker: Int
  ) {
    unsafe UnsafeRawBufferPointer(terms).withMemoryRebound(to: lmoe_term.self) { terms in
      unsafe lmoe_gemm(
        output.count, terms.baseAddress, terms.count, columns.lowerBound, columns.upperBound, output.base,
        output.stride, accumulates ? 1 : 0, scratchRows.row(worker))
    }
  }

  /// Runs `body` for all rows of `width` floats, shared out among the workers if that pays.
  func forEachRow(_ count: Int, width: Int, _ body: @escaping @Sendable (Range<Int>) -> Void) {
    let parts = count * width < 16_384 ? 1 : min(count, pool.count * 4)
    pool.run(items: parts) { part, _ in
      let rows = part * count / parts..<(part + 1) * count / parts
      if !rows.isEmpty { body(rows) }
    }
  }

  /// Columns of the next task: fewer and fewer, for every new place in memory is a stop, but in the end no worker is to
  /// wait for another's wide task.
  ///
  /// - Parameters:
  ///   - product: The product whose columns they are.
  ///   - cost: Multiplications of a column.
  ///   - left: Multiplications that are left of all products.
  private func step(for product: Product, cost: Int, of left: Int) -> Int {
    let isWide = product.output.count > 8
    // Blocks of most quantized weights have 32 elements.
    let width = isWide || product.terms.contains(where: \.hasBlocks) ? 32 : 16
    let share = left / (pool.count > 1 ? 2 * pool.count : 1) / max(1, cost)
    return (min(max(width, share), isWide ? 1024 : 2048) + width - 1) / width * width
  }

  /// The rows of a product's tasks: all, unless it is alone, its few columns cannot be shared out evenly, and there
  /// are rows enough.
  private func rowParts(_ product: Product, isAlone: Bool) -> [Range<Int>] {
    let (rows, width) = (product.output.count, product.output.width)
    guard isAlone, pool.count > 1, product.finish == nil, rows >= 128 * pool.count,
      width < 32 * 4 * pool.count * 2, !(width / 32).isMultiple(of: pool.count)
    else { return [0..<rows] }
    return (0..<pool.count).map { $0 * rows / pool.count..<($0 + 1) * rows / pool.count }
  }
}
