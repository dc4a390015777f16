import CLMoEKernels
import LMoEFormat
import Testing

/// Products with quantized weights against double precision, with every instruction set that this processor has.
@Suite struct QuantizedKernelTests {
  /// x times a quantized weight, with memory around all operands that cannot be touched.
  struct Case {
    let rows: Int
    let columns: Int
    let depth: Int
    let geometry: BlockGeometry
    let isTransposed: Bool
    let x: GuardedMemory<Float>
    let integers: GuardedMemory<UInt8>?
    let weight: GuardedMemory<UInt8>
    let values: [Float]
    let first: Int
    let y: GuardedMemory<Float>
    let yStride: Int
    let scratch = ProductKernelTests.Case.memory()

    init?(
      _ scheme: Quantized, rows: Int, columns: Int, depth: Int, isTransposed: Bool = true,
      usesIntegers: Bool, exact: Bool = false, numbers: inout Numbers
    ) {
      let (lines, length) = isTransposed ? (columns, depth) : (depth, columns)
      guard scheme.takes(length), let geometry = scheme.geometry(length) else { return nil }
      (self.rows, self.columns, self.depth, self.geometry) = (rows, columns, depth, geometry)
      self.isTransposed = isTransposed
      let side: GuardedMemory<Float>.Side = numbers.integer(0...1) == 0 ? .start : .end
      var floats = numbers.floats(rows * depth)
      if exact {
        // 127 in each run, so that the scale is a power of two.
        for index in floats.indices {
          floats[index] = (index % depth) % 32 == 0 ? 127 : Float(numbers.integer(-127...127))
        }
      }
      x = GuardedMemory(floats, side)
      // A weight of NF4 may begin anywhere in its blocks.
      first = geometry.layout == .flat ? numbers.integer(0...200) : 0
      let blocks = scheme.blocks(lines + (first > 0 ? 200 / length + 1 : 0), length, &numbers, exact: exact)
      values = Array(decoded(blocks, geometry, first + lines * length)[first...])
      weight = GuardedMemory(blocks, side == .start ? .start : .end)
      yStride = columns + numbers.integer(0...3)
      y = GuardedMemory(numbers.floats((rows - 1) * yStride + columns), side)
      guard usesIntegers else {
        integers = nil
        return
      }
      let bytes = GuardedMemory([UInt8](repeating: 0xFF, count: rows * lmoe_integer_row_bytes(depth)))
      lmoe_integer_rows(x.base, depth, rows, depth, bytes.base)
      integers = bytes
    }

    /// What a row of x stands for in fifteen bits.
    func quantized(_ row: Int, _ k: Int) -> Double {
      guard let integers else { return Double(x[row * depth + k]) }
      let padded = (depth + 127) / 128 * 128
      let start = UnsafeRawPointer(integers.base) + row * lmoe_integer_row_bytes(depth)
      let high = start.load(fromByteOffset: k, as: Int8.self)
      let low = start.load(fromByteOffset: padded + k, as: Int8.self)
      let scale = start.load(fromByteOffset: 2 * padded + k / 32 * 4, as: Float.self)
      return (128 * Double(high) + Double(low)) * Double(scale)
    }

    var term: lmoe_term {
      lmoe_term(
        x: x.base, x_stride: depth, weight: weight.base, weight_stride: isTransposed ? depth : columns,
        kind: Int32(geometry.scheme), is_transposed: isTransposed ? 1 : 0, depth: depth,
        block: Int(geometry.blockElements), weight_first: first,
        x_integers: integers.map { UnsafeRawPointer($0.base) })
    }

    func compute(_ range: Range<Int>, rows: Int? = nil, accumulates: Bool) {
      var term = term
      lmoe_gemm(
        rows ?? self.rows, &term, 1, range.lowerBound, range.upperBound, y.base, yStride, accumulates ? 1 : 0,
        scratch.base)
    }

    /// The places that are beyond `tolerance` of the sum of magnitudes, or touched outside `range`.
    func wrong(_ range: Range<Int>, _ before: [Float], accumulates: Bool, _ tolerance: Double) -> [String] {
      var wrong: [String] = []
      for index in 0..<y.count {
        let (row, column) = (index / yStride, index % yStride)
        guard range.contains(column) else {
          if y[index].bitPattern != before[index].bitPattern { wrong.append("touched \(row), \(column)") }
          continue
        }
        var (sum, magnitude) = accumulates ? (Double(before[index]), Double(abs(before[index]))) : (0, 0)
        for k in 0..<depth {
          let product =
            quantized(row, k) * Double(values[isTransposed ? column * depth + k : k * columns + column])
          sum += product
          magnitude += abs(product)
        }
        if !(abs(Double(y[index]) - sum) <= tolerance * magnitude) {
          wrong.append("\(row), \(column): \(y[index]), not \(sum)")
        }
      }
      return wrong
    }
  }

  private func check(_ item: Case, _ numbers: inout Numbers, _ note: String) {
    let accumulates = numbers.integer(0...1) == 0
    let first = numbers.integer(0...3) == 0 ? numbers.integer(0...item.columns) : 0
    let end = numbers.integer(0...3) == 0 ? numbers.integer(first...item.columns) : item.columns
    let before = item.y.array
    item.compute(first..<end, accumulates: accumulates)
    // Sums of integers are exact; what is rounded are their products with scales.
    let wrong = item.wrong(
      first..<end, before, accumulates: accumulates, item.integers == nil ? 1e-5 : 1e-6)
    #expect(
      wrong.isEmpty,
      "\(note): \(item.rows) x \(item.columns) x \(item.depth), columns \(first)..<\(end): \(wrong.prefix(3))"
    )
  }

  /// Depths that leave a part of what is taken at once, and columns that leave a part of a tile.
  static let shapes = [
    (depth: 32, columns: 5), (64, 33), (96, 70), (288, 37), (256, 40), (512, 3), (768, 35), (100, 20), (1, 7),
    (33, 16), (5120, 4),
  ]

  @Test(arguments: Kernels.variants, Quantized.withIntegers)
  func `of integers`(variant: String, scheme: Quantized) {
    Kernels.with(variant) {
      var numbers = Numbers(21)
      for (depth, columns) in Self.shapes {
        for rows in depth > 1000 ? [1, 13] : [1, 2, 3, 4, 5, 8, 9, 14, 31] {
          guard
            let item = Case(
              scheme, rows: rows, columns: columns, depth: depth, usesIntegers: true, numbers: &numbers)
          else { continue }
          check(item, &numbers, "\(variant) \(scheme)")
        }
      }
    }
  }

  /// More than is taken of a row in one pass, and more rows than are packed at once.
  @Test(arguments: Kernels.variants, Quantized.withIntegers)
  func `of integers, long and many`(variant: String, scheme: Quantized) {
    Kernels.with(variant) {
      var numbers = Numbers(27)
      for (rows, columns, depth) in [
        (1, 6, 16_640), (3, 5, 8448), (2, 3, 8224), (10, 3, 8448), (133, 18, 544), (150, 17, 768),
      ] {
        guard
          let item = Case(
            scheme, rows: rows, columns: columns, depth: depth, usesIntegers: true, numbers: &numbers)
        else { continue }
        check(item, &numbers, "\(variant) \(scheme)")
      }
    }
  }

  @Test(arguments: Kernels.variants, Quantized.allCases)
  func `of floats, transposed and not`(variant: String, scheme: Quantized) {
    Kernels.with(variant) {
      var numbers = Numbers(22)
      for (depth, columns) in Self.shapes {
        for rows in depth > 1000 ? [1, 33] : [1, 3, 9, 40] {
          for isTransposed in [true, false] {
            guard
              let item = Case(
                scheme, rows: rows, columns: isTransposed ? columns : depth,
                depth: isTransposed ? depth : columns, isTransposed: isTransposed, usesIntegers: false,
                numbers: &numbers)
            else { continue }
            check(item, &numbers, "\(variant) \(scheme) \(isTransposed ? "T" : "N")")
          }
        }
      }
    }
  }

  /// Where the scales are powers of two nothing is rounded: the same bits whatever the kernels.
  @Test(arguments: Quantized.withIntegers) func `integers are the same in all sets`(scheme: Quantized) {
    for rows in [1, 3, 8, 20] {
      for (depth, columns) in [(512, 37), (256, 4)] {
        var all: [[UInt32]] = []
        for variant in Kernels.variants {
          Kernels.with(variant) {
            var numbers = Numbers(23)
            let item = Case(
              scheme, rows: rows, columns: columns, depth: depth, usesIntegers: true, exact: true,
              numbers: &numbers)
            item?.compute(0..<columns, accumulates: false)
            all.append(item?.y.array.map(\.bitPattern) ?? [])
          }
        }
        #expect(all[0].count >= rows * columns)
        #expect(all.allSatisfy { $0 == all[0] }, "\(scheme), \(rows) rows")
      }
    }
  }

  /// Whatever the ranges of columns that workers take, the bits are the same.
  @Test(arguments: Kernels.variants, Quantized.allCases)
  func `ranges of columns agree bit for bit`(variant: String, scheme: Quantized) {
    Kernels.with(variant) {
      var numbers = Numbers(24)
      for rows in [1, 3, 8, 9, 40] {
        for (isTransposed, usesIntegers) in [(true, true), (true, false), (false, false)] {
          guard
            let item = Case(
              scheme, rows: rows, columns: 256, depth: 256, isTransposed: isTransposed,
              usesIntegers: usesIntegers && scheme != .nf4, numbers: &numbers)
          else { continue }
          let before = item.y.array
          item.compute(0..<256, accumulates: true)
          let whole = item.y.array.map(\.bitPattern)
          item.y.base.update(from: before, count: before.count)
          var start = 0
          while start < 256 {
            let end = min(256, start + numbers.integer(1...90))
            item.compute(start..<end, accumulates: true)
            start = end
          }
          #expect(item.y.array.map(\.bitPattern) == whole, "\(variant) \(scheme), \(rows) rows")
        }
      }
    }
  }

  /// A row's sums do not depend on which other rows there are, among few rows and among many.
  @Test(arguments: Kernels.variants, Quantized.withIntegers)
  func `rows stand alone`(variant: String, scheme: Quantized) {
    Kernels.with(variant) {
      var numbers = Numbers(25)
      for (rows, least) in [(4, 1), (20, 9)] {
        guard
          let item = Case(
            scheme, rows: rows, columns: 50, depth: 256, usesIntegers: true, numbers: &numbers)
        else { continue }
        item.compute(0..<50, accumulates: false)
        let whole = item.y.array.map(\.bitPattern)
        for count in least..<rows {
          for index in 0..<item.y.count { item.y[index] = .nan }
          item.compute(0..<50, rows: count, accumulates: false)
          let same = (0..<count).allSatisfy { row in
            (0..<50).allSatisfy {
              item.y[row * item.yStride + $0].bitPattern == whole[row * item.yStride + $0]
            }
          }
          #expect(same, "\(variant) \(scheme), \(count) of \(rows) rows")
        }
      }
    }
  }

  /// Floats and blocks in one sum, in any order.
  @Test(arguments: Kernels.variants) func `terms of floats and of blocks`(variant: String) throws {
    try Kernels.with(variant) {
      var numbers = Numbers(26)
      for rows in [1, 12] {
        let blocks = try #require(
          Case(.q8_0, rows: rows, columns: 64, depth: 96, usesIntegers: true, numbers: &numbers))
        let up = try #require(
          Case(
            .q8_0, rows: rows, columns: 64, depth: 8, isTransposed: false, usesIntegers: false,
            numbers: &numbers))
        let floats = ProductKernelTests.Term(
          rows: rows, columns: 64, depth: 20, kind: .f16, isTransposed: false, numbers: &numbers, side: .end)
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
          let terms = order.map { [blocks.term, up.term, floats.term][$0] }
          lmoe_gemm(rows, terms, 3, 0, 64, blocks.y.base, blocks.yStride, 0, blocks.scratch.base)
          for row in 0..<rows {
            for column in 0..<64 {
              let part = floats.sum(row, column)
              var (sum, magnitude) = (part.sum, part.magnitude)
              for k in 0..<96 { sum += blocks.quantized(row, k) * Double(blocks.values[column * 96 + k]) }
              for k in 0..<8 { sum += Double(up.x[row * 8 + k]) * Double(up.values[k * 64 + column]) }
              magnitude += 10
              #expect(abs(Double(blocks.y[row * blocks.yStride + column]) - sum) <= 1e-6 * magnitude)
            }
          }
        }
      }
    }
  }
}
