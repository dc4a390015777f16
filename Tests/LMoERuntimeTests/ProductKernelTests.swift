import CLMoEKernels
import Testing

/// Sums of products against double precision, with every instruction set that this processor has.
@Suite struct ProductKernelTests {
  /// One term, with memory around its operands that cannot be touched.
  struct Term {
    let kind: WeightKind
    let isTransposed: Bool
    let depth: Int
    let x: GuardedMemory<Float>
    let xStride: Int
    let weight: GuardedMemory<UInt8>
    let weightStride: Int
    let values: [Float]

    init(
      rows: Int, columns: Int, depth: Int, kind: WeightKind, isTransposed: Bool, numbers: inout Numbers,
      side: GuardedMemory<Float>.Side
    ) {
      (self.kind, self.isTransposed, self.depth) = (kind, isTransposed, depth)
      xStride = depth + numbers.integer(0...3)
      x = GuardedMemory(numbers.floats(depth == 0 ? 0 : (rows - 1) * xStride + depth), side)
      let (lines, length) = isTransposed ? (columns, depth) : (depth, columns)
      weightStride = length + numbers.integer(0...3)
      let count = length == 0 || lines == 0 ? 0 : (lines - 1) * weightStride + length
      var bits: [UInt32] = []
      for _ in 0..<count { bits.append(kind.bits(&numbers)) }
      values = bits.map(kind.value)
      weight = GuardedMemory(kind.bytes(bits), side == .start ? .start : .end)
    }

    var term: lmoe_term {
      lmoe_term(
        x: x.base, x_stride: xStride, weight: weight.base, weight_stride: weightStride, kind: kind.code,
        is_transposed: isTransposed ? 1 : 0, depth: depth, block: 0, weight_first: 0, x_integers: nil)
    }

    /// The sum for one place in double precision, and that of the magnitudes.
    func sum(_ row: Int, _ column: Int) -> (sum: Double, magnitude: Double) {
      var (sum, magnitude) = (0.0, 0.0)
      for k in 0..<depth {
        let weight = values[isTransposed ? column * weightStride + k : k * weightStride + column]
        let product = Double(x[row * xStride + k]) * Double(weight)
        sum += product
        magnitude += abs(product)
      }
      return (sum, magnitude)
    }
  }

  /// A product to be computed.
  struct Case {
    let rows: Int
    let columns: Int
    let terms: [Term]
    let y: GuardedMemory<Float>
    let yStride: Int
    let scratch = Self.memory()

    init(
      rows: Int, columns: Int, depths: [Int], accumulates: Bool, numbers: inout Numbers,
      kinds: [WeightKind]? = nil, transposed: [Bool]? = nil
    ) {
      (self.rows, self.columns) = (rows, columns)
      let side: GuardedMemory<Float>.Side = numbers.integer(0...1) == 0 ? .start : .end
      var terms: [Term] = []
      for (index, depth) in depths.enumerated() {
        terms.append(
          Term(
            rows: rows, columns: columns, depth: depth,
            kind: kinds?[index] ?? WeightKind.allCases[numbers.integer(0...2)],
            isTransposed: transposed?[index] ?? (numbers.integer(0...1) == 0), numbers: &numbers, side: side))
      }
      self.terms = terms
      yStride = columns + numbers.integer(0...3)
      y = GuardedMemory(numbers.floats((rows - 1) * yStride + columns), side)
    }

    func compute(_ columns: Range<Int>, accumulates: Bool) {
      let terms = terms.map(\.term)
      lmoe_gemm(
        rows, terms, terms.count, columns.lowerBound, columns.upperBound, y.base, yStride,
        accumulates ? 1 : 0, scratch.base)
    }

    /// Full of NaNs: what was there before must not matter.
    static func memory() -> GuardedMemory<Float> {
      GuardedMemory([Float](repeating: .nan, count: lmoe_gemm_scratch(4096)))
    }

    /// The places that are wrong: beyond 1e-5 of the sum of magnitudes, or touched outside `columns`.
    func wrong(_ columns: Range<Int>, before: [Float], accumulates: Bool) -> [String] {
      var wrong: [String] = []
      for index in 0..<y.count {
        let (row, column) = (index / yStride, index % yStride)
        guard columns.contains(column) else {
          if y[index].bitPattern != before[index].bitPattern { wrong.append("touched \(row), \(column)") }
          continue
        }
        var (sum, magnitude) = accumulates ? (Double(before[index]), Double(abs(before[index]))) : (0, 0)
        for term in terms {
          let part = term.sum(row, column)
          sum += part.sum
          magnitude += part.magnitude
        }
        // A NaN is not within anything.
        if !(abs(Double(y[index]) - sum) <= 1e-5 * magnitude) {
          wrong.append("\(row), \(column): \(y[index]), not \(sum)")
        }
      }
      return wrong
    }
  }

  static func check(_ item: Case, accumulates: Bool, numbers: inout Numbers, _ note: String) {
    let first = numbers.integer(0...3) == 0 ? numbers.integer(0...item.columns) : 0
    let end = numbers.integer(0...3) == 0 ? numbers.integer(first...item.columns) : item.columns
    let before = item.y.array
    item.compute(first..<end, accumulates: accumulates)
    let wrong = item.wrong(first..<end, before: before, accumulates: accumulates)
    let what = item.terms.map { "\($0.kind) \($0.isTransposed ? "T" : "N") \($0.depth)" }.joined(
      separator: " + ")
    #expect(
      wrong.isEmpty,
      "\(note): \(item.rows) x \(item.columns) of \(what), columns \(first)..<\(end): \(wrong.prefix(3))")
  }

  @Test(arguments: Kernels.variants) func `every number of rows and every tail`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(1)
      for length in 1...40 {
        for kind in WeightKind.allCases {
          for isTransposed in [true, false] {
            for (depth, columns) in [(length, numbers.integer(1...40)), (numbers.integer(1...40), length)] {
              let accumulates = numbers.integer(0...1) == 0
              let item = Case(
                rows: numbers.integer(1...17), columns: columns, depths: [depth], accumulates: accumulates,
                numbers: &numbers, kinds: [kind], transposed: [isTransposed])
              Self.check(item, accumulates: accumulates, numbers: &numbers, variant)
            }
          }
        }
      }
    }
  }

  @Test(arguments: Kernels.variants) func `every number of rows with one and two terms`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(2)
      for rows in 1...40 {
        for depths in [[numbers.integer(64...80)], [numbers.integer(64...140), numbers.integer(1...70)]] {
          for accumulates in [false, true] {
            let item = Case(
              rows: rows, columns: numbers.integer(33...100), depths: depths, accumulates: accumulates,
              numbers: &numbers)
            Self.check(item, accumulates: accumulates, numbers: &numbers, variant)
          }
        }
      }
    }
  }

  /// Depths that are cut into passes, columns that take several rounds of the scratch, few rows of long sums.
  @Test(arguments: Kernels.variants) func `long sums and many columns`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(3)
      for (rows, columns, depths) in [
        (33, 70, [1290]), (13, 230, [640]), (40, 100, [641]), (35, 37, [576, 64]), (48, 33, [700, 700, 40]),
        (50, 600, [64]), (3, 40, [4000]), (9, 90, [513, 30]), (31, 20, [300]), (34, 35, [256, 255]),
      ] {
        for accumulates in [false, true] {
          let item = Case(
            rows: rows, columns: columns, depths: depths, accumulates: accumulates, numbers: &numbers)
          Self.check(item, accumulates: accumulates, numbers: &numbers, variant)
        }
      }
    }
  }

  @Test(arguments: Kernels.variants) func `any number of terms, empty ones too`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(4)
      for depths in [[], [0], [0, 5, 0], [3, 0], Array(repeating: 3, count: 11), [0, 0, 300, 0, 400]] {
        for rows in [1, 5, 12, 50] {
          for accumulates in [false, true] {
            let item = Case(
              rows: rows, columns: 37, depths: depths, accumulates: accumulates, numbers: &numbers)
            Self.check(item, accumulates: accumulates, numbers: &numbers, variant)
          }
        }
      }
    }
  }

  @Test(arguments: Kernels.variants) func `nothing is done to no rows and no columns`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(5)
      let item = Case(rows: 3, columns: 5, depths: [7], accumulates: false, numbers: &numbers)
      let before = item.y.array
      item.compute(2..<2, accumulates: false)
      let terms = item.terms.map(\.term)
      lmoe_gemm(0, terms, 1, 0, 5, item.y.base, item.yStride, 0, item.scratch.base)
      #expect(item.y.array == before)
    }
  }

  /// As B of experts lies: rows of a few numbers, one after the other, which meet columns of U beside each other.
  @Test(arguments: Kernels.variants) func `weights of narrow rows, alone and behind a wide one`(
    variant: String
  ) {
    Kernels.with(variant) {
      var numbers = Numbers(8)
      for (depths, kinds) in [
        ([1], [WeightKind.f16]), ([8, 8, 8], [.f16, .f16, .f16]),
        ([16, 4, 5, 16], [.f32, .f32, .bf16, .bf16]),
        ([300, 16, 8, 3], [.f16, .f16, .f16, .f16]), ([32, 33, 32, 7], [.bf16, .bf16, .bf16, .f32]),
        ([40, 32, 32, 32, 32, 32, 1], Array(repeating: .f16, count: 7)),
      ] {
        for rows in [1, 2, 3, 4, 7, 8, 9, 20, 32, 33] {
          let columns = numbers.integer(1...150)
          let item = Narrow(rows: rows, columns: columns, depths: depths, kinds, &numbers)
          let start = numbers.integer(0...columns - 1)
          let wrong = item.wrong(start)
          #expect(
            wrong.isEmpty, "\(variant): \(rows) x \(columns) of \(depths), from \(start): \(wrong.prefix(3))")
        }
      }
    }
  }

  /// Terms whose weights have no room between their rows, and whose parts of x are beside each other.
  private struct Narrow {
    let (rows, columns, width): (Int, Int, Int)
    let depths: [Int]
    let kinds: [WeightKind]
    let x: GuardedMemory<Float>
    let weights: [GuardedMemory<UInt8>]
    let values: [[Float]]
    let scratch = Case.memory()

    init(rows: Int, columns: Int, depths: [Int], _ kinds: [WeightKind], _ numbers: inout Numbers) {
      (self.rows, self.columns, self.depths, self.kinds) = (rows, columns, depths, kinds)
      width = depths.reduce(0, +)
      x = GuardedMemory(numbers.floats(rows * width), .end)
      var bits: [[UInt32]] = []
      for (depth, kind) in zip(depths, kinds) {
        bits.append((0..<columns * depth).map { _ in kind.bits(&numbers) })
      }
      values = zip(bits, kinds).map { $0.map($1.value) }
      weights = zip(bits, kinds).map { GuardedMemory($1.bytes($0), .end) }
    }

    func compute(_ range: Range<Int>, into y: inout [Float]) {
      var terms: [lmoe_term] = []
      var first = 0
      for (index, depth) in depths.enumerated() {
        terms.append(
          lmoe_term(
            x: x.base + first, x_stride: width, weight: weights[index].base, weight_stride: depth,
            kind: kinds[index].code, is_transposed: 1, depth: depth, block: 0, weight_first: 0,
            x_integers: nil))
        first += depth
      }
      lmoe_gemm(rows, terms, terms.count, range.lowerBound, range.upperBound, &y, columns, 1, scratch.base)
    }

    /// The places that are wrong, added to 1 for columns from `start` on first, then for those before.
    func wrong(_ start: Int) -> [String] {
      var (y, whole) = (
        [Float](repeating: 1, count: rows * columns), [Float](repeating: 1, count: rows * columns)
      )
      compute(start..<columns, into: &y)
      compute(0..<start, into: &y)
      compute(0..<columns, into: &whole)
      var wrong: [String] = []
      for row in 0..<rows {
        for column in 0..<columns {
          var (sum, magnitude, first) = (1.0, 1.0, 0)
          for (term, depth) in depths.enumerated() {
            for k in 0..<depth {
              let product = Double(x[row * width + first + k]) * Double(values[term][column * depth + k])
              sum += product
              magnitude += abs(product)
            }
            first += depth
          }
          let found = y[row * columns + column]
          if !(abs(Double(found) - sum) <= 1e-5 * magnitude) || found != whole[row * columns + column] {
            wrong.append("\(row), \(column): \(found), not \(sum)")
          }
        }
      }
      return wrong
    }
  }

  /// Whatever the ranges of columns that workers take, and wherever they begin, the bits are the same.
  @Test(arguments: Kernels.variants) func `ranges of columns agree bit for bit with the whole`(
    variant: String
  ) {
    Kernels.with(variant) {
      var numbers = Numbers(6)
      for rows in [1, 2, 3, 4, 5, 8, 9, 16, 33, 45] {
        for depths in [[70], [330, 21], [1500]] {
          let item = Case(rows: rows, columns: 150, depths: depths, accumulates: true, numbers: &numbers)
          let before = item.y.array
          item.compute(0..<150, accumulates: true)
          let whole = item.y.array.map(\.bitPattern)
          item.y.base.update(from: before, count: before.count)
          var start = 0
          while start < 150 {
            let end = min(150, start + numbers.integer(1...70))
            item.compute(start..<end, accumulates: true)
            start = end
          }
          #expect(item.y.array.map(\.bitPattern) == whole, "\(variant), \(rows) rows of \(depths)")
        }
      }
    }
  }

  /// A row's sums do not depend on which other rows there are, among few rows and among many.
  @Test(arguments: Kernels.variants, [4, 60]) func `rows stand alone`(variant: String, rows: Int) {
    Kernels.with(variant) {
      var numbers = Numbers(7)
      let least = rows == 4 ? 1 : 33
      for depths in [[70], [330, 21], [1500]] {
        let item = Case(rows: rows, columns: 50, depths: depths, accumulates: false, numbers: &numbers)
        item.compute(0..<50, accumulates: false)
        let whole = item.y.array.map(\.bitPattern)
        let terms = item.terms.map(\.term)
        for count in least..<rows {
          for index in 0..<item.y.count { item.y[index] = .nan }
          lmoe_gemm(count, terms, terms.count, 0, 50, item.y.base, item.yStride, 0, item.scratch.base)
          let same = (0..<count).allSatisfy { row in
            (0..<50).allSatisfy {
              item.y[row * item.yStride + $0].bitPattern == whole[row * item.yStride + $0]
            }
          }
          #expect(same, "\(variant), \(count) of \(rows) rows of \(depths)")
        }
      }
    }
  }

  /// All bit patterns of two bytes: every subnormal, infinity and NaN.
  @Test(arguments: Kernels.variants, [WeightKind.f16, .bf16])
  func `every half float is what it stands for`(variant: String, kind: WeightKind) {
    Kernels.with(variant) {
      let all = (0..<UInt32(65536)).map { $0 }
      let weight = GuardedMemory(kind.bytes(all))
      let scratch = Case.memory()
      for (rows, isTransposed) in [(1, false), (1, true), (40, false), (40, true)] {
        let x = GuardedMemory([Float](repeating: 1, count: rows))
        let y = GuardedMemory([Float](repeating: 0, count: rows * 65536))
        var term = lmoe_term(
          x: x.base, x_stride: 1, weight: weight.base, weight_stride: isTransposed ? 1 : 65536,
          kind: kind.code,
          is_transposed: isTransposed ? 1 : 0, depth: 1, block: 0, weight_first: 0, x_integers: nil)
        lmoe_gemm(rows, &term, 1, 0, 65536, y.base, 65536, 0, scratch.base)
        let wrong = all.filter { bits in
          let (got, expected) = (y[(rows - 1) * 65536 + Int(bits)], kind.value(bits))
          return !(got == expected || got.isNaN && expected.isNaN)
        }
        #expect(
          wrong.isEmpty, "\(variant), \(rows) rows: \(wrong.count) wrong, the first \(wrong.first ?? 0)")
      }
    }
  }

  @Test func `multiply-adds in registers are done as often as is said`() {
    let rounds = 5
    // The first of twelve chains begins with 0, the next with 1, and so on.
    var expected: Float = 0
    for chain in 0..<12 { expected += (0..<rounds).reduce(Float(chain)) { sum, _ in sum * 0.5 + 0.25 } }
    for (variant, lanes) in [("portable", 4.0), ("avx2", 8), ("avx512", 16), ("avx512vnni", 16)]
    where Kernels.variants.contains(variant) {
      Kernels.with(variant) {
        var values: [Float] = [0.5, 0.25]
        #expect(lmoe_multiply_adds(rounds, &values) == 2 * 12 * lanes * Double(rounds), "\(variant)")
        #expect(values[0] == expected, "\(variant)")
      }
    }
  }

  @Test func `kernels are chosen by name, for one thread`() {
    #expect(Kernels.variants.contains("portable"))
    let best = lmoe_kernel_variant().map { String(cString: $0) }
    #expect(best == Kernels.variants.last)
    for variant in Kernels.variants {
      Kernels.with(variant) {
        #expect(lmoe_kernel_variant().map { String(cString: $0) } == variant)
        #expect(lmoe_select_kernels("mmx") == 0)
        #expect(lmoe_kernel_variant().map { String(cString: $0) } == variant)
      }
    }
    #expect(lmoe_kernel_variant().map { String(cString: $0) } == best)
  }
}
