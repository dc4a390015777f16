import CLMoEKernels
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Passes of training over whole rows, against double precision: norms, losses and transposition.
@Suite struct TrainingRowKernelTests {
  /// Rows of the gradient of a norm: what goes in, and in double precision what comes out.
  struct NormCase {
    let width: Int
    let stride: Int
    let rows: Int
    let kind: WeightKind
    let bits: [UInt32]
    let x: [Float]
    let dy: [Float]

    init(width: Int, kind: WeightKind, scale: Float, _ numbers: inout Numbers) {
      (self.width, self.kind) = (width, kind)
      stride = width + numbers.integer(0...2)
      rows = numbers.integer(1...3)
      bits = (0..<width).map { _ in kind.bits(&numbers) }
      let count = (rows - 1) * stride + width
      x = numbers.floats(count, scale: scale)
      dy = numbers.floats(count)
    }

    func isIn(_ index: Int) -> Bool { index % stride < width }

    /// With what is between the rows left as it is in `before`, and the largest of the terms r * h.
    ///
    /// What is left of a row of one or two is a small difference of such terms, as precise as they are.
    func exact(before: [Float]) -> (gradient: [Double], largestTerm: Double) {
      var (out, largestTerm) = (before.map(Double.init), 0.0)
      for row in 0..<rows {
        let at = row * stride
        let values = (0..<width).map { Double(x[at + $0]) }
        let h = (0..<width).map { Double(kind.value(bits[$0])) * Double(dy[at + $0]) }
        let r = 1 / (values.reduce(0) { $0 + $1 * $1 } / Double(width) + 1e-5).squareRoot()
        let sum = zip(h, values).reduce(0) { $0 + $1.0 * $1.1 }
        largestTerm = h.reduce(largestTerm) { max($0, abs(r * $1)) }
        for i in 0..<width {
          out[at + i] = r * h[i] - values[i] * r * r * r / Double(width) * sum
        }
      }
      return (out, largestTerm)
    }
  }

  @Test(arguments: Kernels.variants) func `gradient of the RMS norm`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(31)
      for width in Array(1...40) + [576] {
        for kind in WeightKind.allCases {
          let norm = NormCase(width: width, kind: kind, scale: 3, &numbers)
          let weight = GuardedMemory(kind.bytes(norm.bits))
          for side in GuardedMemory<Float>.Side.allCases {
            let (x, dy) = (GuardedMemory(norm.x, side), GuardedMemory(norm.dy, side))
            func run(_ dx: GuardedMemory<Float>, _ accumulates: Int32) {
              lmoe_rms_norm_backward(
                x.base, norm.stride, norm.rows, width, weight.base, kind.code, 1e-5, dy.base, norm.stride,
                dx.base, norm.stride, accumulates)
            }
            let before = [Float](repeating: 0.75, count: norm.x.count)
            let dx = GuardedMemory(before, side)
            run(dx, 0)
            let exact = norm.exact(before: before)
            for index in before.indices {
              let difference = abs(Double(dx[index]) - exact.gradient[index])
              let bound = norm.isIn(index) ? 5e-7 * exact.largestTerm : 0
              #expect(difference <= bound, "\(width) \(kind) \(index)")
            }
            #expect(x.array == norm.x && dy.array == norm.dy)
            let sum = GuardedMemory(before, side)
            run(sum, 1)
            for index in before.indices {
              let expected = norm.isIn(index) ? dx[index] + 0.75 : 0.75
              #expect(abs(sum[index] - expected) <= 3e-7 * max(1, abs(expected)))
            }
            run(dy, 0)
            #expect(dy.array.indices.allSatisfy { dy[$0] == (norm.isIn($0) ? dx[$0] : norm.dy[$0]) })
          }
        }
      }
    }
  }

  /// Neither the squares of activations nor the cubes of their scale need to be floats.
  @Test(arguments: Kernels.variants) func `gradient of the RMS norm of large activations`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(32)
      let norm = NormCase(width: 37, kind: .f32, scale: 1e30, &numbers)
      let weight = norm.kind.bytes(norm.bits)
      var dx = [Float](repeating: 0, count: norm.x.count)
      let before = dx
      lmoe_rms_norm_backward(
        norm.x, norm.stride, norm.rows, 37, weight, norm.kind.code, 1e-5, norm.dy, norm.stride, &dx,
        norm.stride, 0)
      let exact = norm.exact(before: before).gradient
      let error = TrainingKernelTests.error(dx.map { $0 * 1e30 }, exact.map { $0 * 1e30 })
      #expect(error <= 1e-6)
    }
  }

  @Test(arguments: Kernels.variants) func `cross-entropy and its gradient`(variant: String) {
    TrainingKernelTests.each(variant, seed: 33, counts: Array(1...40) + [1000, 32000]) {
      count, side, numbers in
      for scale in [Float(1), 20] {
        let values = numbers.floats(count, scale: scale)
        let target = numbers.integer(0...count - 1)
        let largest = Double(values.max() ?? 0)
        let exact = values.map { exp(Double($0) - largest) }
        let sum = exact.reduce(0, +)
        let logits = GuardedMemory(values, side)
        let loss = lmoe_cross_entropy(logits.base, count, target, 0.25)
        let exactLoss = log(sum) + largest - Double(values[target])
        #expect(abs(loss - exactLoss) <= 3e-7 * max(1, exactLoss), "\(count) of \(scale)")
        let gradient = exact.indices.map { 0.25 * (exact[$0] / sum - ($0 == target ? 1 : 0)) }
        // The difference of two logits of up to 20 is rounded before it is raised.
        let bound = scale == 1 ? 1e-6 : 4e-6
        #expect(TrainingKernelTests.error(logits.array, gradient) <= bound, "\(count) of \(scale)")
      }
    }
  }

  /// The gradient at a target that is nearly certain is a small difference, and still precise.
  @Test(arguments: Kernels.variants) func `cross-entropy of what is nearly certain`(variant: String) {
    Kernels.with(variant) {
      for count in [2, 17, 33] {
        for target in [0, count / 2, count - 1] {
          var logits = [Float](repeating: 0, count: count)
          logits[target] = 16
          let rest = Double(count - 1) * exp(-16.0)
          #expect(abs(lmoe_cross_entropy(&logits, count, target, 1) - log1p(rest)) <= 1e-6 * rest)
          for index in 0..<count {
            let exact = (index == target ? -rest : exp(-16.0)) / (1 + rest)
            #expect(abs(Double(logits[index]) - exact) <= 1e-6 * rest)
          }
        }
      }
    }
  }

  @Test(arguments: Kernels.variants) func `cross-entropy hides nothing`(variant: String) {
    Kernels.with(variant) {
      for count in 1...40 {
        for place in 0..<count {
          for bad in [Float.nan, .infinity, -.infinity] {
            var logits = (0..<count).map { Float($0 % 7) }
            logits[place] = bad
            #expect(lmoe_cross_entropy(&logits, count, count / 2, 1).isNaN, "\(count), \(place), \(bad)")
            #expect(logits.allSatisfy { $0.isNaN }, "\(count), \(place), \(bad)")
          }
        }
        var logits = [Float](repeating: 1, count: count)
        #expect(lmoe_cross_entropy(&logits, count, count, 1).isNaN && logits.allSatisfy { $0 == 1 })
      }
      #expect(lmoe_cross_entropy(nil, 0, 0, 1).isNaN)
      // So does the largest of finite ones.
      var logits: [Float] = [3e38, -3e38, 0]
      #expect(lmoe_cross_entropy(&logits, 3, 0, 1) == 0 && logits == [0, 0, 0])
    }
  }

  @Test(arguments: Kernels.variants) func `transposition with strides`(variant: String) {
    Kernels.with(variant) {
      var numbers = Numbers(34)
      var shapes = (0...40).flatMap { rows in [(rows, rows), (rows, 33), (17, rows), (rows, 1)] }
      shapes += [(256, 64), (255, 63), (130, 70)]
      for (rows, columns) in shapes {
        // Either may be the one of the more even stride.
        for (more, moreOut) in [(0, 0), (3, 0), (0, 5), (64 - columns % 64, 1), (1, 64 - rows % 64)] {
          let (stride, outStride) = (columns + more, rows + moreOut)
          let matrix = numbers.floats(max(0, (rows - 1) * stride + columns))
          let before = [Float](repeating: 7, count: max(0, (columns - 1) * outStride + rows))
          for side in GuardedMemory<Float>.Side.allCases {
            let (from, to) = (GuardedMemory(matrix, side), GuardedMemory(before, side))
            lmoe_transpose_strided(from.base, rows, columns, stride, to.base, outStride)
            let isRight = before.indices.allSatisfy { index in
              let (column, row) = (index / outStride, index % outStride)
              return to[index] == (row < rows ? matrix[row * stride + column] : 7)
            }
            #expect(isRight && from.array == matrix, "\(rows) x \(columns), \(stride), \(outStride)")
          }
        }
      }
    }
  }

  @Test func `transposition of elements of two bytes and of four`() {
    check(UInt16.self) { lmoe_transpose_16($0, $1, $2, $3) }
    check(UInt32.self) { lmoe_transpose_32($0, $1, $2, $3) }
  }

  private func check<Element: FixedWidthInteger & BitwiseCopyable>(
    _: Element.Type, _ transpose: (UnsafeRawPointer, Int, Int, UnsafeMutableRawPointer) -> Void
  ) {
    let small = (0...19).flatMap { rows in (0...19).map { (rows, $0) } }
    for (rows, columns) in small + [(576, 16), (16, 200)] {
      // All bits, those of floats that are no numbers too.
      let matrix = (0..<rows * columns).map { Element(truncatingIfNeeded: ($0 + 1) &* 0x9E37_79B9) }
      for side in GuardedMemory<Element>.Side.allCases {
        let from = GuardedMemory(matrix, side)
        let to = GuardedMemory([Element](repeating: 0, count: matrix.count), side)
        transpose(from.base, rows, columns, to.base)
        let isRight = matrix.indices.allSatisfy { index in
          let (column, row) = (index / rows, index % rows)
          return to[index] == matrix[row * columns + column]
        }
        #expect(isRight && from.array == matrix, "\(rows) x \(columns)")
      }
    }
  }
}
